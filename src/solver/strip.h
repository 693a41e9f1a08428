// A strip: a few rows of a layer problem, transposed and preconditioned, as the solvers' inner
// loops want them. Rows are independent given H, so strips are the unit of parallel work.
//
// Frame: row i is multiplied by 2^-k_i (its largest |w_j| d_j becomes about 1; exact) and column j
// by d_j (tap_hessian.h). Matrices are (n, lanes): one row per column of W, one lane per row of W;
// lanes are padded to a multiple of 16 with zero rows.
//
//   w'  the weights            q'  a point of the grid            e' = w' - q'
//   f(row) = 4^k scale^2 sum_j e'_j (C e')_j
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "base/view.h"
#include "grid/codebook.h"
#include "grid/level_table.h"
#include "solver/solver.h"

namespace coldpress {

// Scales of a strip's rows: in the row's frame (times 2^-k), but for zeros, which have no unit.
struct StripScales {
  MatrixF scale;        // (groups, lanes), not 0
  MatrixF inverse;      // 1 / scale
  MatrixF zero;         // (groups, lanes)
  MatrixF unit;         // (groups / groups_per_unit, lanes); no rows without units
  MatrixF offset_unit;  // likewise

  StripScales clone() const;
  void take(const StripScales& from, int64_t lane);
};

class Strip {
 public:
  // Keeps a pointer to the problem, which must outlive it. Copying is explicit work: clone().
  Strip(const LayerProblem& problem, int64_t row0, int64_t rows);
  Strip() = default;  // empty, to be assigned
  Strip clone() const;

  const LayerProblem& problem() const { return *problem_; }
  int64_t n() const { return w_.rows(); }
  int64_t lanes() const { return w_.cols(); }
  int64_t rows() const { return rows_; }
  int64_t row0() const { return row0_; }
  View2<const float> w() const { return w_.view(); }
  bool dead(int64_t j) const { return d_[static_cast<std::size_t>(j)] == 0; }
  // 2^k_i: takes values of lane i from the row's frame to one that all rows share.
  float row_unit(int64_t i) const {
    return std::ldexp(1.0F, exponent_[static_cast<std::size_t>(i)]);
  }
  float column_unit(int64_t j) const { return inverse_d_[static_cast<std::size_t>(j)]; }
  // Replaces w' (n, lanes): solves for another target in the same frame.
  void set_w(View2<const float> w);

  // Columns that take a point of the grid together: 1, or with a book those of a unit.
  int64_t tuple() const { return problem_->grid->tuple(); }
  // q <- the grid points nearest to t in the tuple() columns from `first` on; both are
  // (unit, lanes) and may alias. With a book, the nearest together; as project() else.
  void project_unit(int64_t first, View2<const float> t, View2<float> q) const;
  // What a level of 1 is in column j, in kLanes lanes from `lane` on. For grids with a book.
  Lanes step(int64_t j, int64_t lane) const {
    return load_lanes(s_.scale.row(j / group()) + lane) * d_[static_cast<std::size_t>(j)];
  }

  // For grids without a book: q <- the grid point nearest to t in column j; both hold lanes()
  // values and may alias. NaN goes to the lowest code. A dead column gives 0.
  void project(int64_t j, const float* t, float* q) const;

  // The same for one lane: t, q (n). Bit for bit what project() gives column by column.
  void project_row(int64_t lane, const float* t, float* q) const;

  // Code of a grid point q' of (column j, lane i) on this strip's scales, and the reverse. A dead
  // column, whose points are all 0, has code 0.
  uint8_t code(int64_t j, int64_t i, float q) const;
  float point(int64_t j, int64_t i, uint8_t code) const;
  // q' (n, lanes) of the codes that code_of(column, lane) gives; 0 in padded lanes.
  template <typename CodeOf>
  MatrixF points(CodeOf code_of) const {
    MatrixF q(n(), lanes());
    for (int64_t j = 0; j < n(); ++j) {
      for (int64_t i = 0; i < rows_; ++i) q(j, i) = point(j, i, code_of(j, i));
    }
    return q;
  }

  // The starting point: problem.init if given, else RTN. Shape (n, lanes).
  MatrixF start() const;
  MatrixF round_to_nearest() const;
  // RTN of the problem's own weights, code for code what round_to_grid() gives: in the frame, ties
  // may fall to the other side. Only on a strip whose scales have not moved.
  MatrixF given_round_to_nearest() const;

  const StripScales& all_scales() const { return s_; }
  View2<const float> scales() const { return s_.scale.view(); }
  View2<const float> zeros() const { return s_.zero.view(); }
  View2<const float> inverse_scales() const { return s_.inverse.view(); }
  int64_t group() const { return problem_->grid->group; }
  // Replaces the scale of (group g, lane i); must be finite and not 0.
  void set_scale(int64_t g, int64_t i, float scale) {
    s_.scale(g, i) = scale;
    s_.inverse(g, i) = 1.0F / scale;
  }
  // Where the grid's zero_is_free an integer in [0, levels - 1], where it has_offset any number.
  void set_zero(int64_t g, int64_t i, float zero) { s_.zero(g, i) = zero; }
  // Takes the scales, zeros and units of `lane` from a strip of the same rows.
  void take_scales(const StripScales& from, int64_t lane) { s_.take(from, lane); }

  // Rounds every scale, and every offset, to the nearest one that the grid can store; units of rows
  // where something moves are chosen anew.
  void settle_scales();
  // What the grid can store, in the row's frame and on the present units, nearest to a scale or an
  // offset (scale * zero) of group g and lane i.
  float storable(int64_t g, int64_t i, float scale) const;
  float storable_offset(int64_t g, int64_t i, float offset) const;

  // out <- w' - x, all (n, lanes): e' of a point, or the point of an e'. `out` may be x.
  void w_minus(View2<const float> x, View2<float> out) const;

  // f of each row for e' (n, lanes), in the units of H and W. `product` (n, lanes) is scratch.
  std::vector<double> errors(View2<const float> e, View2<float> product) const;

  // Codes of grid points q' on this strip's scales (dead columns: nearest to the weight), and the
  // scales, into rows row0.. of `codes` and `grid`.
  void store(View2<const float> q, View2<uint8_t> codes, QuantGrid* grid) const;

 private:
  bool is_settled(int64_t i) const;
  void store_unit(const QuantGrid& grid, int64_t row, int64_t first, uint8_t* codes) const;
  void choose_units(const ScaleRule& rule, bool of_offsets, int64_t i, MatrixF* unit) const;

  const LayerProblem* problem_ = nullptr;
  int64_t row0_ = 0;
  int64_t rows_ = 0;
  MatrixF w_;             // (n, lanes)
  std::vector<float> d_;  // (n)
  std::vector<float> inverse_d_;
  StripScales s_;
  std::vector<int> exponent_;
  LevelTable table_;  // of a table grid
};

// How `rows` rows are cut into strips: an even number of nearly equal strips of at most 192 rows,
// so that 2, 4, ... threads share them well. Depends on `rows` only.
struct StripRange {
  int64_t row0;
  int64_t rows;
};
std::vector<StripRange> cut_into_strips(int64_t rows);

// Per-row results of a whole problem, filled strip by strip.
struct RowErrors {
  std::vector<double> error;
  std::vector<double> rtn_error;
  std::vector<double> energy;
  std::vector<uint8_t> kept_rtn;
  explicit RowErrors(int64_t rows)
      : error(static_cast<std::size_t>(rows)),
        rtn_error(error),
        energy(error),
        kept_rtn(static_cast<std::size_t>(rows)) {}
};

// Starts a solution: codes sized, the grid copied from the problem.
LayerSolution start_solution(const LayerProblem& problem);

// Ends every method, strip by strip: per row, the better of `q` (a solver's result on the strip's
// scales, (n, lanes)) and RTN on the problem's own grid goes to the solution's codes and scales.
// `on_grid` (n, lanes), where given, is q' without what is kept beside the grid: its codes are
// stored.
void finish_strip(const Strip& strip, View2<const float> q, LayerSolution* solution,
                  RowErrors* rows, View2<const float> on_grid = {});

// Sums the rows in order into the solution.
void finish_solution(const RowErrors& rows, LayerSolution* solution);

}  // namespace coldpress
