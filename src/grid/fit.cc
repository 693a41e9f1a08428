#include "grid/fit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>

namespace coldpress {

int64_t group_columns(const GridOptions& o, int64_t cols) {
  return std::max<int64_t>(1, o.group == 0 ? cols : o.group);
}

Status check_group(const GridOptions& o, int64_t cols) {
  if (o.group < 0) return invalid_argument("--group must be 0 (per channel) or positive");
  if (o.group == 0 || cols % o.group == 0) return {};
  std::string legal;
  for (int64_t g = 16; g <= std::min<int64_t>(cols, 1024); g += 16) {
    if (cols % g == 0) legal += (legal.empty() ? "" : ", ") + std::to_string(g);
  }
  return invalid_argument(
      fmt::format("--group {} does not divide {} columns; use --group 0 (per channel){}", o.group,
                  cols, legal.empty() ? "" : " or one of " + legal));
}

bool is_usable_scale(float scale) { return scale > 1e-36F && std::isfinite(scale); }

}  // namespace coldpress
