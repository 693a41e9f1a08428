#include "report/matrix_html.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/json.h"

namespace coldpress {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Json matrix() {
  const auto cell = [](const char* preset, const char* method, double perplexity) {
    return Json{{"preset", preset},
                {"method", method},
                {"perplexity", perplexity},
                {"bits_per_weight", 3.0},
                {"mean_error", 0.01}};
  };
  return {
      {"model", "a <model> & more"},
      {"protocol", "gptq-2048"},
      {"windows", 12},
      {"reference", {{"perplexity", 20.0}}},
      {"methods", {"rtn", "admm-q"}},
      {"presets", {"w3a16", "w8a8"}},
      {"cells",
       {cell("w3a16", "rtn", 100.0), cell("w3a16", "admm-q", 40.0), cell("w8a8", "rtn", 20.5)}}};
}

TEST(MatrixHtml, HasEveryCellAndMarksTheBest) {
  const std::string html = matrix_html(matrix());
  EXPECT_THAT(html, HasSubstr("a &lt;model&gt; &amp; more"));
  EXPECT_THAT(html, Not(HasSubstr("<model>")));
  EXPECT_THAT(html, HasSubstr("unquantised 20.00"));
  EXPECT_THAT(html, HasSubstr(">100.00</td>"));
  EXPECT_THAT(html,
              HasSubstr("number best\" title=\"3.000 bits, layer error 0.01000\">40.00</td>"));
  // w8a8 has no admm-q: an empty cell, and a bar less.
  EXPECT_THAT(html, HasSubstr("<td></td>"));
  std::size_t bars = 0;
  for (std::size_t at = html.find("<rect"); at != std::string::npos;
       at = html.find("<rect", at + 1)) {
    ++bars;
  }
  EXPECT_EQ(bars, 3U);
}

TEST(MatrixHtml, NeedsNoNetwork) {
  const std::string html = matrix_html(matrix());
  for (const char* outside : {"http", "<script", "<link", "@import"}) {
    EXPECT_THAT(html, Not(HasSubstr(outside)));
  }
}

TEST(MatrixHtml, NothingIsWorseThanTheReference) {
  Json better = matrix();
  better["reference"]["perplexity"] = 200.0;  // of a model that got better by accident
  EXPECT_THAT(matrix_html(better), HasSubstr("width=\"1.0\""));
}

}  // namespace
}  // namespace coldpress
