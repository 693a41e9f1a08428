// The layer problem and the contract of every solver (ALGORITHMS.md §§1, 4).
//
//   minimise f(Q) = tr((Q - W) H (Q - W)^T)  over codes of a grid.
//
// A solver is a pure function: no files, clock, environment or logging. Its result depends only on
// its arguments, never on the pool's thread count. Guarantee: codes are finite grid points and
// f <= f(RTN) row by row on the same grid, whatever H is; what it took is in `outcome`.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"
#include "base/view.h"
#include "grid/grid.h"
#include "parallel/thread_pool.h"
#include "solver/side_matrix.h"
#include "solver/tap_hessian.h"

namespace coldpress {

// How to fit the grid's ranges anew, for methods that take the largest weights out first.
struct GridFit {
  const GridKind* kind;
  GridOptions options;
};

struct LayerProblem {
  View2<const float> w;          // (out, in)
  TapHessian* hessian;           // (in, in); its caches may be filled
  const QuantGrid* grid;         // fitted to w; a method may move its scales and free zeros
  View2<const uint8_t> init;     // optional starting codes (out, in); empty: the solver's own start
  const GridFit* fit = nullptr;  // optional; without it the given ranges stay
};

// Which entries a method with outliers may keep beside the grid.
enum class OutlierMode { kUnstructured, kColumns };

// How they are found (solver/outliers.h).
enum class OutlierSelector {
  kIterative,    // iterative hard thresholding along with the codes
  kMagnitude,    // the largest |w|
  kSensitivity,  // the largest (w - RTN(w))^2 / [H^-1]_jj
};

struct SolverMethod;

struct SolverOptions {
  int effort = 3;            // 1..5: how much time a method may spend beyond its minimum
  int iterations = 0;        // ADMM iterations or QuantEase sweeps; 0: the method's default
  int local_search = -1;     // sweeps of local search; -1: the method's default, 0: none
  bool precondition = true;  // ADMM-Q: penalise in the unit-diagonal frame
  bool grow_rho = true;      // ADMM-Q: false keeps rho constant
  bool move_scales = true;   // ADMM-Q: search and refit scales; false keeps the given grid
  const SolverMethod* init = nullptr;  // QuantEase: its result is the start; none: the weights
  int refit_rounds = 0;         // RTN, GPTQ, QuantEase: most rounds of scale refit and sweeps
  double outlier_fraction = 0;  // of the entries (or of the columns) kept beside the grid, 0..0.5
  OutlierMode outlier_mode = OutlierMode::kUnstructured;
  OutlierSelector outlier_selector = OutlierSelector::kIterative;
};

// What a solver had to do to keep its guarantee.
struct Outcome {
  double damping = 0;         // fraction of mean diag(H) added to factorise (0: none needed)
  int64_t rows_from_rtn = 0;  // rows where RTN was as good or better, so RTN's codes were kept
  int iterations = 0;         // run, at most
  std::string fallback;       // empty, or one sentence
};

struct LayerSolution {
  Matrix<uint8_t> codes;  // (out, in)
  QuantGrid grid;         // the problem's, with the scales that the method may have refitted
  SideMatrix side;        // added to the decoded codes; empty unless the method takes outliers
  double error = 0;       // f
  double rtn_error = 0;   // f of RTN on the same grid
  double energy = 0;      // tr(W H W^T)
  double gemm_flops = 0;  // matrix products and factorisations that the method is made of
  Outcome outcome;

  // Bits per weight that the side matrix adds to the grid's.
  double side_bits_per_weight() const {
    return codes.empty()
               ? 0
               : side.bits(codes.rows(), codes.cols()) / static_cast<double>(codes.size());
  }
  double relative_error() const { return energy > 0 ? error / energy : 0; }
  double relative_rtn_error() const { return energy > 0 ? rtn_error / energy : 0; }
};

// What a method holds at its peak beside the problem and the solution (docs/solvers-memory.md), in
// fp32 copies of W and of H (the tap's factor included), and strips of rows per thread.
struct SolverMemory {
  double weights = 0;
  int hessians = 0;
  int strips = 7;
};

// One row of the table of solvers (solver/methods/*.cc).
struct SolverMethod {
  std::string_view name;
  std::string_view summary;
  bool uses_hessian;  // false: needs no calibration
  LayerSolution (*solve)(const LayerProblem& problem, const SolverOptions& options,
                         ThreadPool& pool);
  bool takes_outliers = false;  // needs and uses outlier_fraction
  bool takes_init = false;      // uses SolverOptions::init
  SolverMemory memory = {};
};

}  // namespace coldpress
