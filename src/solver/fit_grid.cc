#include "solver/fit_grid.h"

#include <cstddef>
#include <cstdint>

#include "solver/strip.h"

namespace coldpress {

// Rows are independent, so strips of them are fitted in parallel.
QuantGrid fit_grid(const GridFit& fit, View2<const float> w, const std::vector<float>& h_diag,
                   ThreadPool& pool) {
  const std::vector<StripRange> strips = cut_into_strips(w.rows);
  std::vector<QuantGrid> parts(strips.size());
  pool.for_each(static_cast<int64_t>(strips.size()), [&](int64_t s, int) {
    const StripRange r = strips[static_cast<std::size_t>(s)];
    parts[static_cast<std::size_t>(s)] =
        fit.kind->fit(fit.options, w.row_range(r.row0, r.rows), h_diag);
  });
  QuantGrid grid = parts.front().shell(w.rows);
  for (std::size_t s = 0; s < strips.size(); ++s) grid.take_rows(parts[s], strips[s].row0);
  return grid;
}

}  // namespace coldpress
