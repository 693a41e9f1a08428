#include "solver/side_matrix.h"

#include <bit>

namespace coldpress {

double SideMatrix::bits(int64_t rows, int64_t cols) const {
  return bits(static_cast<int64_t>(entries.size()), static_cast<int64_t>(columns.size()), rows,
              cols);
}

double SideMatrix::bits(int64_t entry_count, int64_t column_count, int64_t rows, int64_t cols) {
  constexpr double kValue = 16;
  constexpr double kPointer = 32;
  double sum = static_cast<double>(column_count) * (kPointer + kValue * static_cast<double>(rows));
  if (entry_count > 0) {
    const int index = std::bit_width(static_cast<uint64_t>(cols > 1 ? cols - 1 : 0));
    sum +=
        static_cast<double>(entry_count) * (kValue + index) + kPointer * static_cast<double>(rows);
  }
  return sum;
}

void SideMatrix::add_to(View2<float> out) const {
  for (const Entry& e : entries) out(e.row, e.col) += e.value;
  for (std::size_t c = 0; c < columns.size(); ++c) {
    for (int64_t i = 0; i < out.rows; ++i) {
      out(i, columns[c]) += column_values(i, static_cast<int64_t>(c));
    }
  }
}

}  // namespace coldpress
