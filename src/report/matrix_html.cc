#include "report/matrix_html.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <string_view>
#include <vector>

#include "io/json.h"

namespace coldpress {
namespace {

constexpr const char* kColours[] = {"#b0b7bf", "#e0a458", "#4f86c6",
                                    "#2a9d6f", "#8e5ea2", "#c0504d"};
constexpr double kWidth = 720;
constexpr double kRowHeight = 18;
constexpr double kLabelWidth = 170;
constexpr double kNumberWidth = 70;

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else {
      out += c;
    }
  }
  return out;
}

const Json* find_cell(const Json& matrix, const Json& preset, const Json& method) {
  for (const Json& cell : matrix["cells"]) {
    if (cell["preset"] == preset && cell["method"] == method) return &cell;
  }
  return nullptr;
}

const char* colour(std::size_t method) { return kColours[method % std::size(kColours)]; }

std::string table(const Json& matrix) {
  std::string html = "<table><tr><th>preset</th>";
  for (const Json& method : matrix["methods"]) {
    html += "<th>" + escaped(method.get<std::string>()) + "</th>";
  }
  html += "</tr>\n";
  for (const Json& preset : matrix["presets"]) {
    html += "<tr><td>" + escaped(preset.get<std::string>()) + "</td>";
    double best = INFINITY;
    for (const Json& method : matrix["methods"]) {
      const Json* cell = find_cell(matrix, preset, method);
      if (cell != nullptr) best = std::min(best, (*cell)["perplexity"].get<double>());
    }
    for (const Json& method : matrix["methods"]) {
      const Json* cell = find_cell(matrix, preset, method);
      if (cell == nullptr) {
        html += "<td></td>";
        continue;
      }
      const auto perplexity = (*cell)["perplexity"].get<double>();
      html += fmt::format(
          "<td class=\"number{}\" title=\"{:.3f} bits, layer error {:.5f}\">{:.2f}</td>",
          perplexity == best ? " best" : "", (*cell)["bits_per_weight"].get<double>(),
          (*cell)["mean_error"].get<double>(), perplexity);
    }
    html += "</tr>\n";
  }
  return html + "</table>\n";
}

// Bars of the perplexity's logarithm above the unquantised model's.
std::string bars(const Json& matrix, const Json& preset, double reference, double largest) {
  const auto& methods = matrix["methods"];
  const double height = kRowHeight * static_cast<double>(methods.size()) + 4;
  std::string svg = fmt::format("<h3>{}</h3>\n<svg width=\"{}\" height=\"{}\">\n",
                                escaped(preset.get<std::string>()), kWidth, height);
  const double room = kWidth - kLabelWidth - kNumberWidth;
  for (std::size_t m = 0; m < methods.size(); ++m) {
    const Json* cell = find_cell(matrix, preset, methods[m]);
    if (cell == nullptr) continue;
    const auto perplexity = (*cell)["perplexity"].get<double>();
    const double share =
        largest > 0 ? std::clamp(std::log(perplexity / reference) / largest, 0.0, 1.0) : 0.0;
    const double y = kRowHeight * static_cast<double>(m);
    svg += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>", kLabelWidth - 6,
                       y + 13, escaped(methods[m].get<std::string>()));
    svg += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{:.1f}\" height=\"{}\" fill=\"{}\"/>",
                       kLabelWidth, y + 2, std::max(1.0, share * room), kRowHeight - 4, colour(m));
    svg += fmt::format("<text x=\"{:.1f}\" y=\"{}\">{:.2f}</text>\n",
                       kLabelWidth + share * room + 6, y + 13, perplexity);
  }
  return svg + "</svg>\n";
}

}  // namespace

std::string matrix_html(const Json& matrix) {
  const auto reference = matrix["reference"]["perplexity"].get<double>();
  double largest = 0;
  for (const Json& cell : matrix["cells"]) {
    largest = std::max(largest, std::log(cell["perplexity"].get<double>() / reference));
  }
  std::string html =
      "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"><title>coldpress bench matrix</title>\n"
      "<style>body{font:14px sans-serif;margin:2em;color:#222}table{border-collapse:collapse}"
      "td,th{border:1px solid #ccc;padding:4px 10px}.number{text-align:right}"
      ".best{font-weight:bold}svg text{font:12px sans-serif}</style></head><body>\n";
  html += fmt::format(
      "<h1>{}</h1>\n<p>Perplexity by {}, {} windows; unquantised {:.2f}. In bold the best of each "
      "row.</p>\n",
      escaped(matrix["model"].get<std::string>()), escaped(matrix["protocol"].get<std::string>()),
      matrix["windows"].get<int64_t>(), reference);
  html += table(matrix);
  html += "<p>Bars: the logarithm of perplexity above the unquantised model's.</p>\n";
  for (const Json& preset : matrix["presets"]) html += bars(matrix, preset, reference, largest);
  return html + "</body></html>\n";
}

}  // namespace coldpress
