// The grid contract: which values an entry of a weight matrix may take.
//
// Per row and group of `group` consecutive columns, entry (i, j) may be
//     scale(i, g) * (level[c] - zero(i, g)),   c = 0 .. levels-1,   g = j / group.
// For affine grids level[c] = c. With a book, the codes of 8 consecutive columns are a point of it
// (grid/codebook.h). Solvers see only this struct; what makes a grid (range, clipping,
// storage format) is the business of its kind (grid/kinds/*.cc).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"
#include "base/status.h"
#include "base/view.h"
#include "grid/scale_rule.h"

namespace coldpress {

class Codebook;
inline constexpr int64_t kColumnsOfABook = 8;

// How the range of a group is chosen.
enum class Clip {
  kNone,     // [min, max]
  kHessian,  // the ratio of [min, max] with least sum_j H_jj (Q(w_j) - w_j)^2 (ALGORITHMS.md §3)
};

struct GridOptions {
  std::string kind = "affine";
  int bits = 4;       // 2..8
  int64_t group = 0;  // columns per group; 0: the whole row
  bool symmetric = false;
  Clip clip = Clip::kHessian;
  DType scale_type = DType::kF16;  // of the stored scales: F32, F16 or BF16
};

struct QuantGrid {
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t group = 0;          // columns per group, >= 1; divides cols
  int levels = 0;             // codes are 0 .. levels-1, at most 256
  bool zero_is_free = false;  // a solver may move zeros to other integers in [0, levels - 1]
  // Every scale is one that scale_rule can store. With has_offset zeros are real numbers, and each
  // offset = scale * zero is one that offset_rule can store.
  ScaleRule scale_rule;
  ScaleRule offset_rule;
  bool has_offset = false;
  std::vector<float> level;  // empty: level[c] = c; else ascending, `levels` long (at most 16)
  const Codebook* book = nullptr;  // not owned: one per format, for ever
  MatrixF scale;                   // (rows, groups), finite, not 0
  MatrixF zero;                    // (rows, groups), finite
  MatrixF unit;         // of scales, (rows, groups / groups_per_unit); no columns without units
  MatrixF offset_unit;  // of offsets, likewise

  int64_t groups() const { return group == 0 ? 0 : cols / group; }
  // Columns whose codes are chosen together.
  int64_t tuple() const { return book == nullptr ? 1 : kColumnsOfABook; }
  float value(int64_t i, int64_t j, uint8_t code) const {
    const int64_t g = j / group;
    const float l = level.empty() ? static_cast<float>(code) : level[code];
    return scale(i, g) * (l - zero(i, g));
  }
  QuantGrid clone() const;
  // As clone() but for so many rows, whose scales, zeros and units are not filled in.
  QuantGrid shell(int64_t rows_wanted) const;
  // Row r of `from` becomes row at + r.
  void take_rows(const QuantGrid& from, int64_t at);
};

// The code whose value is nearest to w: RTN, on grids without a book. A tie goes to the even code
// of an affine grid and to the lower level of a table; NaN to code 0.
uint8_t project(const QuantGrid& grid, int64_t i, int64_t j, float w);
// RTN of w, rows row0 .. of the matrix, on any grid. On one with a book: the points of least
// distance, in which column j counts h_diag[j] >= 0, or little where that is 0.
Matrix<uint8_t> round_to_grid(const QuantGrid& grid, View2<const float> w,
                              std::span<const float> h_diag, int64_t row0 = 0);
// out (rows, cols) <- values of the codes.
void decode(const QuantGrid& grid, View2<const uint8_t> codes, View2<float> out);

struct BlockFormat;

// One row of the table of grids.
struct GridKind {
  std::string_view name;
  std::string_view summary;
  int fixed_bits;  // the only --bits that check() takes; 0: 2 to 8
  // Refuses impossible options for a matrix with `cols` columns, saying what would work.
  Status (*check)(const GridOptions& options, int64_t cols);
  // Ranges for rows [0, w.rows) of w (rows, cols); h_diag (cols) >= 0 weighs the columns. Rows are
  // independent, so callers may split them.
  QuantGrid (*fit)(const GridOptions& options, View2<const float> w, std::span<const float> h_diag);
  // Stored bits per weight, scales and zeros counted.
  double (*bits_per_weight)(const GridOptions& options, int64_t cols);
  const BlockFormat* block = nullptr;   // of a grid that llama.cpp stores (grid/block_format.h)
  const Codebook& (*book)() = nullptr;  // of grids that have one, QuantGrid::book
};

}  // namespace coldpress
