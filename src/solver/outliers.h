// Outliers: W ~ D + S with D on the grid and S sparse, by entries or by whole columns (QuantEase's
// outlier-aware form, 2309.01885): how the support of S is chosen and moved, and the end of every
// method that has one.
//
// State per strip (solver/strip.h): q' = D' + S'. Entries of the support are free: q' is any number
// there, D' the grid point nearest to it and S' what remains. Elsewhere S' = 0.
//
// The support is chosen over the whole layer, so its steps are phases over all strips. Magnitudes
// are compared in the preconditioned frame with the rows' common unit: the frame in which f is a
// sum of squares weighted by C. It was measured against |S| itself (docs/solvers-outliers.md).
#pragma once

#include <cstdint>
#include <vector>

#include "base/view.h"
#include "parallel/thread_pool.h"
#include "solver/solver.h"
#include "solver/strip.h"

namespace coldpress {

struct OutlierStrip {
  Strip strip;
  MatrixF e;             // (n, lanes): w' - q'
  Matrix<uint8_t> free;  // (n, lanes): 1 in the support

  OutlierStrip clone() const { return {strip.clone(), e.clone(), free.clone()}; }
};

// Strips of the problem with q' = w' and no support.
std::vector<OutlierStrip> outlier_strips(const LayerProblem& problem);

// Entries of the support, or its columns in columns mode; at least 1 unless the fraction is 0.
int64_t outlier_count(const SolverOptions& options, int64_t rows, int64_t cols);

// Bits that the side matrix will cost, at most.
double planned_side_bits(const SolverOptions& options, int64_t rows, int64_t cols);

// A little above the largest eigenvalue of symmetric PSD c (n, n), by power iteration. 1 if c is 0.
double largest_eigenvalue(View2<const float> c);

// The support of a selector that looks once: the largest |w|, or the largest (w - RTN(w))^2 /
// [H^-1]_jj. Without a factor [H^-1]_jj counts as 1 / H_jj. kIterative begins at the largest |w|.
void choose_support(const SolverOptions& options, const GptqFactor* factor,
                    std::vector<OutlierStrip>* strips, ThreadPool& pool);

// Iterative hard thresholding: S' <- top_k(S' + C e' / lambda). With lambda at or above the largest
// eigenvalue of C it never raises f beyond rounding. Cost: one product (n x n)(n x lanes).
void threshold_step(const SolverOptions& options, double lambda, std::vector<OutlierStrip>* strips,
                    ThreadPool& pool);

// The same with the largest step that is right for one entry alone (1 / C_jj = 1), D' projected
// anew: the support becomes the k entries that lose most if they must take their best grid point.
// Moves the support much faster, and may raise f. Same cost.
void exchange_step(const SolverOptions& options, std::vector<OutlierStrip>* strips,
                   ThreadPool& pool);

// The problem's grid fitted anew with the support's weights taken out; a copy of its own grid where
// the problem does not say how to fit.
QuantGrid fit_without_outliers(const LayerProblem& problem, const std::vector<OutlierStrip>& strips,
                               ThreadPool& pool);

// Gives the strips the scales and zeros of another grid of the same shape.
void set_grid(const LayerProblem& problem, const QuantGrid& grid,
              std::vector<OutlierStrip>* strips);

// Error feedback with the support left unrounded; q' becomes its result. With `choose_scales`, per
// row the best of a short list of scale factors and zero shifts is kept.
void feed_errors_back(const GptqFactor& factor, bool choose_scales, OutlierStrip* strip);

// Coordinate sweeps over D and S together; never raises f beyond rounding.
void sweep_outliers(int sweeps, OutlierStrip* strip);

// Rounds of (refit the scales with the codes and S fixed, sweeps); never raises f beyond rounding.
void polish_outliers(int rounds, int sweeps, OutlierStrip* strip);

// Solves D anew on W - S by another method; rows that it improves are taken. Returns its flops.
double solve_grid_part(const LayerProblem& problem, const SolverMethod& method,
                       const SolverOptions& options, std::vector<OutlierStrip>* strips,
                       ThreadPool& pool);

// Sum over all rows.
double total_error(const std::vector<OutlierStrip>& strips, ThreadPool& pool);

// Ends a method: S rounded to fp16, then per row the better of the result and plain RTN on the
// problem's own grid, which needs no S.
LayerSolution finish_outliers(const LayerProblem& problem, OutlierMode mode,
                              std::vector<OutlierStrip>* strips, ThreadPool& pool);

}  // namespace coldpress
