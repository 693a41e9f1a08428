// What a solver keeps beside the grid: D + S, where S holds few entries, or few whole columns.
#pragma once

#include <cstdint>
#include <vector>

#include "base/view.h"

namespace coldpress {

// Values are fp16 numbers held in fp32.
struct SideMatrix {
  struct Entry {
    int64_t row;
    int64_t col;
    float value;
  };
  std::vector<Entry> entries;    // unstructured: ascending by row, then column
  std::vector<int64_t> columns;  // structured: ascending
  MatrixF column_values;         // structured: (rows, columns.size())

  bool empty() const { return entries.empty() && columns.empty(); }
  // What storing it costs for a matrix (rows, cols). Unstructured: compressed rows, with 32 bits
  // per row, and per entry 16 bits of value and enough for a column index. Structured: 32 bits per
  // column and 16 per value.
  double bits(int64_t rows, int64_t cols) const;
  static double bits(int64_t entry_count, int64_t column_count, int64_t rows, int64_t cols);
  // out (rows, cols) += S.
  void add_to(View2<float> out) const;
};

}  // namespace coldpress
