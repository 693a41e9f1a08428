// Orthogonal matrices that spread what stands out over all channels (2404.00456). Any width: a
// Hadamard matrix of the largest power of two in it, times (Kronecker) a Hartley matrix of the odd
// rest, whose entries are within sqrt(2) of flat; random signs make it random. Nothing is
// tabulated.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/view.h"

namespace coldpress {

class Rotation {
 public:
  // (H x Q) S: random signs S, then Q on each run of `odd` values, then H across the runs. The same
  // for the same width, seed and stream.
  static Rotation hadamard(int64_t n, uint64_t seed, uint64_t stream = 0);
  // A matrix that the caller knows to be orthogonal.
  static Rotation dense(MatrixF q);

  int64_t n() const { return n_; }
  // x (n) <- R x, or R^T x. T: float or double; sums are in double.
  template <typename T>
  void apply(T* x) const;
  template <typename T>
  void apply_transposed(T* x) const;
  // R itself, (n, n).
  MatrixF matrix() const;
  // Each row x of m (rows, n): x <- R x, so that m becomes m R^T.
  void to_rows(View2<float> m) const;
  // Each row x of m (rows, n): x <- R^T x.
  void to_rows_back(View2<float> m) const;
  // m (n, cols) <- R m.
  void to_columns(View2<float> m) const;

 private:
  void multiply_rows(View2<float> m, bool transposed) const;

  int64_t n_ = 0;
  int64_t odd_ = 1;
  std::vector<float> signs_;   // empty: a dense one
  std::vector<double> inner_;  // (odd, odd); empty if odd is 1
  MatrixF dense_;              // of a dense one (n, n)
};

// Of consecutive channels, n() each, all of them: a block diagonal matrix. Empty: the identity.
using RotationBlocks = std::vector<std::shared_ptr<const Rotation>>;

}  // namespace coldpress
