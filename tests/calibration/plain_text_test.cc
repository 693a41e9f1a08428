#include "calibration/plain_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace coldpress {
namespace {

using ::testing::HasSubstr;

std::string error_of(const std::string& bytes) { return check_plain_text(bytes, "f").message(); }

TEST(PlainText, TextIsText) {
  EXPECT_TRUE(check_plain_text("", "f").ok());
  EXPECT_TRUE(check_plain_text("\xef\xbb\xbf"
                               "Gr\xc3\xb6\xc3\x9f"
                               "e \xe4\xbd\xa0 \xf0\x9f\x98\x80\x01\x1b\n",
                               "f")
                  .ok());
  // One stray byte in a hundred.
  EXPECT_TRUE(check_plain_text(std::string(99, 'a') + "\xff", "f").ok());
}

TEST(PlainText, BytesAreNot) {
  EXPECT_EQ(error_of(std::string("GGUF\0", 5) + std::string(5000, 'a')),
            "f: this is not a text: byte 4 is NUL (plain UTF-8 or .jsonl is needed)");
  EXPECT_THAT(error_of(std::string(97, 'a') + "\xff\xff"), HasSubstr("2 of its 99 bytes are not"));
  for (const char* bad : {"\xc3", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                          "\xf5\x80\x80\x80", "\x80", "\xe4\xbd", "\xc3(",
                          "Gr\xf6\xdf"
                          "e"}) {
    EXPECT_THAT(error_of(bad), HasSubstr("not a text in UTF-8")) << bad;
  }
}

}  // namespace
}  // namespace coldpress
