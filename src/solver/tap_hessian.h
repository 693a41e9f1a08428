// The Hessian of one tap, prepared for solvers: shared by every linear that reads the same input.
//
// Everything is kept in the diagonally preconditioned frame (2605.11222, "preconditioning"):
//   d_j = sqrt(H_jj),   C = H / (d d^T)   (the correlation matrix: unit diagonal),
//   w'_j = w_j d_j,     f = sum_rows (w' - q')^T C (w' - q').
// This is exact, and it makes every solver insensitive to badly scaled columns. A dead column
// (H_jj = 0) has d_j = 0, C_jj = 1 and no off-diagonal entries: it never influences f.
//
// Factor and spectrum are made on first use, once, whichever thread asks first, on the threads of
// its pool.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/view.h"
#include "parallel/thread_pool.h"
#include "solver/spectrum.h"

namespace coldpress {

// U with U^T U = (C + damping)^-1, in an activation order: the most active column first, or where
// columns are chosen together, the most active unit of them.
struct GptqFactor {
  int64_t unit = 1;            // consecutive columns that stay together
  std::vector<int64_t> order;  // order[k]: the column that is solved k-th
  MatrixF u;                   // (n, n) upper triangular, in solving order
  double damping = 0;          // fraction of mean diag(H) that was added; 0.01 unless it failed

  // What that is on C's diagonal, in a column of this d.
  float added(float d) const {
    return d > 0 ? std::min(1e12F, static_cast<float>(damping / d / d)) : 0;
  }
};

class TapHessian {
 public:
  // h (n, n), symmetric (the lower triangle is read), the Gram divided by its token count.
  // A NaN, an infinity or a negative diagonal is an error that names the tap.
  static Result<TapHessian> create(std::string name, View2<const float> h);

  const std::string& name() const { return name_; }
  int64_t n() const { return correlation_.rows(); }
  View2<const float> correlation() const { return correlation_.view(); }
  // diag(H), as given.
  const std::vector<float>& diagonal() const { return diagonal_; }
  // d_j / scale(): relative column weights with mean square 1 over live columns.
  const std::vector<float>& d() const { return d_; }
  // H = scale()^2 (d d^T) o C. f in H's units is scale()^2 times f in ours.
  double scale() const { return scale_; }
  bool is_zero() const { return live_ == 0; }

  // Factor for error feedback; damping is 1 % of mean diag(H), raised tenfold until the Cholesky
  // factorisation succeeds. nullptr if it never does. `unit` divides n. Cached.
  const GptqFactor* gptq_factor(int64_t unit, ThreadPool& pool);

  // Eigenvalues of H in units of scale()^2: estimated where there are many. Cached.
  const Spectrum& spectrum(ThreadPool& pool);

 private:
  // u empty: no damping was enough.
  GptqFactor make_gptq_factor(int64_t unit, ThreadPool& pool) const;

  std::string name_;
  MatrixF correlation_;
  std::vector<float> diagonal_;
  std::vector<float> d_;
  double scale_ = 1.0;
  int64_t live_ = 0;
  std::unique_ptr<std::mutex> filling_ = std::make_unique<std::mutex>();  // guards what follows
  std::map<int64_t, GptqFactor> gptq_;                                    // by unit
  std::optional<Spectrum> spectrum_;
};

}  // namespace coldpress
