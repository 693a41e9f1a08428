#include "calibration/windows.h"

#include <gtest/gtest.h>

#include <numeric>

namespace coldpress {
namespace {

TEST(CalibrationWindows, AreTheFirstStretchesOfTheStream) {
  std::vector<int32_t> stream(103);
  std::iota(stream.begin(), stream.end(), 0);
  CalibrationWindows w;
  w.length = 25;
  w.tokens = cut_windows(stream, 3, 25).value();
  ASSERT_EQ(w.count(), 3);
  EXPECT_EQ(w.window(0).front(), 0);
  EXPECT_EQ(w.window(2).front(), 50);
  EXPECT_EQ(w.window(2).back(), 74);
}

TEST(CalibrationWindows, ASeedTakesWholeWindowsFromAnywhere) {
  std::vector<int32_t> stream(10000);
  std::iota(stream.begin(), stream.end(), 0);
  const auto tokens = cut_windows(stream, 4, 25, 3).value();
  ASSERT_EQ(tokens.size(), 100u);
  for (std::size_t w = 0; w < 4; ++w) {
    EXPECT_EQ(tokens[w * 25] % 25, 0);
    EXPECT_EQ(tokens[w * 25 + 24], tokens[w * 25] + 24);
  }
  EXPECT_NE(tokens, cut_windows(stream, 4, 25).value());
}

TEST(CalibrationWindows, TooShortATextSaysHowManyThereAre) {
  const std::vector<int32_t> stream(103);
  const auto r = cut_windows(stream, 5, 25);
  ASSERT_FALSE(r.ok());
  EXPECT_NE(r.status().message().find("4 windows of 25, not 5"), std::string::npos);
  EXPECT_FALSE(cut_windows(stream, 0, 25).ok());
  EXPECT_FALSE(cut_windows(stream, 1, 1).ok());
}

}  // namespace
}  // namespace coldpress
