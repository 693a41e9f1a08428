#include "solver/outliers.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/dtype.h"
#include "linalg/blas.h"
#include "solver/error_feedback.h"
#include "solver/refit.h"
#include "solver/sweep.h"

namespace coldpress {
namespace {

constexpr float kLargestHalf = 65504.0F;  // of fp16

// What error feedback is tried on: the range that is best for rounding is too tight for it.
struct ScaleTrial {
  float factor;
  float zero_shift;
};
constexpr std::array<ScaleTrial, 10> kScaleTrials = {{{1.0F, 0},
                                                      {1.06F, 0},
                                                      {1.12F, 0},
                                                      {1.18F, 0},
                                                      {0.94F, 0},
                                                      {0.88F, 0},
                                                      {1.0F, 1},
                                                      {1.0F, -1},
                                                      {1.1F, 1},
                                                      {1.1F, -1}}};

float to_half(float x) {
  return f16_to_f32(f32_to_f16(std::clamp(x, -kLargestHalf, kLargestHalf)));
}

// Scores are compared, so a NaN or an infinity counts as the smallest.
float finite_score(float x) { return x > 0 && x <= std::numeric_limits<float>::max() ? x : 0.0F; }

int64_t strip_count(const std::vector<OutlierStrip>& strips) {
  return static_cast<int64_t>(strips.size());
}

// D' of column j: q' itself outside the support, the nearest grid point inside.
void grid_part(const OutlierStrip& s, int64_t j, const float* q, float* d) {
  s.strip.project(j, q, d);
  const uint8_t* free = s.free.row(j);
#pragma omp simd
  for (int64_t i = 0; i < s.e.cols(); ++i) d[i] = free[i] != 0 ? d[i] : q[i];
}

// q' and D' of the whole strip.
void split(const OutlierStrip& s, View2<float> q, View2<float> d) {
  const float* w = s.strip.w().data;
  for (int64_t k = 0; k < s.e.size(); ++k) q.data[k] = w[k] - s.e.data()[k];
  for (int64_t j = 0; j < q.rows; ++j) grid_part(s, j, q.row(j), d.row(j));
}

void set_support_entries(int64_t count, const std::vector<MatrixF>& scores,
                         std::vector<OutlierStrip>* strips) {
  std::vector<float> all;
  for (std::size_t s = 0; s < scores.size(); ++s) {
    const int64_t rows = (*strips)[s].strip.rows();
    for (int64_t j = 0; j < scores[s].rows(); ++j) {
      all.insert(all.end(), scores[s].row(j), scores[s].row(j) + rows);
    }
  }
  count = std::min(count, static_cast<int64_t>(all.size()));
  if (count == 0) return;
  const auto kth = all.begin() + (count - 1);
  std::nth_element(all.begin(), kth, all.end(), std::greater<>());
  const float threshold = *kth;
  int64_t ties = count - std::count_if(all.begin(), kth, [&](float v) { return v > threshold; });
  for (std::size_t s = 0; s < scores.size(); ++s) {
    OutlierStrip& strip = (*strips)[s];
    for (int64_t j = 0; j < scores[s].rows(); ++j) {
      const float* score = scores[s].row(j);
      uint8_t* free = strip.free.row(j);
      for (int64_t i = 0; i < strip.strip.rows(); ++i) {
        const bool tie = score[i] == threshold && ties > 0;
        ties -= tie ? 1 : 0;
        free[i] = score[i] > threshold || tie ? 1 : 0;
      }
    }
  }
}

void set_support_columns(int64_t count, const std::vector<MatrixF>& scores,
                         std::vector<OutlierStrip>* strips) {
  const int64_t n = scores.front().rows();
  std::vector<double> sum(static_cast<std::size_t>(n), 0.0);
  for (std::size_t s = 0; s < scores.size(); ++s) {
    for (int64_t j = 0; j < n; ++j) {
      for (int64_t i = 0; i < (*strips)[s].strip.rows(); ++i) {
        const double v = scores[s](j, i);
        sum[static_cast<std::size_t>(j)] += v * v;
      }
    }
  }
  std::vector<int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return sum[static_cast<std::size_t>(a)] > sum[static_cast<std::size_t>(b)];
  });
  for (OutlierStrip& s : *strips) {
    std::fill_n(s.free.data(), s.free.size(), uint8_t{0});
    for (int64_t k = 0; k < std::min(count, n); ++k) {
      std::fill_n(s.free.row(order[static_cast<std::size_t>(k)]), s.strip.rows(), uint8_t{1});
    }
  }
}

// Moves the support to the `count` largest scores of the layer (columns: the largest sums of
// squares). scores: one (n, lanes) per strip. Ties go to the first.
void set_support(const SolverOptions& options, const std::vector<MatrixF>& scores,
                 std::vector<OutlierStrip>* strips) {
  if (strips->empty()) return;
  const OutlierStrip& last = strips->back();
  const int64_t count =
      outlier_count(options, last.strip.row0() + last.strip.rows(), last.strip.n());
  if (options.outlier_mode == OutlierMode::kColumns) {
    set_support_columns(count, scores, strips);
  } else {
    set_support_entries(count, scores, strips);
  }
}

// What both steps share. propose(strip, j, gradient, s) replaces row j of the gradient C e' by the
// S' that each entry would have, and leaves in row j of e' w' - D'.
template <typename Propose>
void step_support(const SolverOptions& options, std::vector<OutlierStrip>* strips, ThreadPool& pool,
                  const Propose& propose) {
  std::vector<MatrixF> scores(strips->size());
  std::vector<MatrixF> proposals(strips->size());
  pool.for_each(strip_count(*strips), [&](int64_t at, int) {
    OutlierStrip& s = (*strips)[static_cast<std::size_t>(at)];
    const int64_t n = s.e.rows();
    const int64_t lanes = s.e.cols();
    MatrixF proposal(n, lanes);
    MatrixF score(n, lanes);
    gemm(Trans::kNo, Trans::kNo, 1.0F, s.strip.problem().hessian->correlation(), s.e.view(), 0.0F,
         proposal.view());
    std::vector<float> unit(static_cast<std::size_t>(lanes));
    for (int64_t i = 0; i < lanes; ++i) unit[static_cast<std::size_t>(i)] = s.strip.row_unit(i);
    std::vector<float> q(unit.size());
    std::vector<float> d(unit.size());
    for (int64_t j = 0; j < n; ++j) {
      float* v = proposal.row(j);
      propose(&s, j, v, q.data(), d.data());
      for (int64_t i = 0; i < lanes; ++i) {
        score(j, i) = finite_score(std::abs(v[i]) * unit[static_cast<std::size_t>(i)]);
      }
    }
    proposals[static_cast<std::size_t>(at)] = std::move(proposal);
    scores[static_cast<std::size_t>(at)] = std::move(score);
  });
  set_support(options, scores, strips);
  pool.for_each(strip_count(*strips), [&](int64_t at, int) {
    OutlierStrip& s = (*strips)[static_cast<std::size_t>(at)];
    const float* proposal = proposals[static_cast<std::size_t>(at)].data();
    float* e = s.e.data();
    const uint8_t* free = s.free.data();
#pragma omp simd
    for (int64_t k = 0; k < s.e.size(); ++k) e[k] -= free[k] != 0 ? proposal[k] : 0.0F;
  });
}

// Takes the rows of `from`, which has the same support, that have a smaller error.
void take_better_rows(const OutlierStrip& from, OutlierStrip* to) {
  MatrixF product(to->e.rows(), to->e.cols());
  const std::vector<double> old = to->strip.errors(to->e.view(), product.view());
  const std::vector<double> now = from.strip.errors(from.e.view(), product.view());
  for (int64_t i = 0; i < to->strip.rows(); ++i) {
    const auto row = static_cast<std::size_t>(i);
    if (!(now[row] < old[row])) continue;
    to->strip.take_scales(from.strip.all_scales(), i);
    for (int64_t j = 0; j < to->e.rows(); ++j) to->e(j, i) = from.e(j, i);
  }
}

}  // namespace

std::vector<OutlierStrip> outlier_strips(const LayerProblem& problem) {
  std::vector<OutlierStrip> strips;
  for (const StripRange range : cut_into_strips(problem.w.rows)) {
    Strip strip(problem, range.row0, range.rows);
    MatrixF e(strip.n(), strip.lanes());
    Matrix<uint8_t> free(strip.n(), strip.lanes());
    strips.push_back({std::move(strip), std::move(e), std::move(free)});
  }
  return strips;
}

int64_t outlier_count(const SolverOptions& options, int64_t rows, int64_t cols) {
  if (!(options.outlier_fraction > 0)) return 0;
  const int64_t of = options.outlier_mode == OutlierMode::kColumns ? cols : rows * cols;
  const double wanted = std::round(options.outlier_fraction * static_cast<double>(of));
  return std::clamp<int64_t>(static_cast<int64_t>(wanted), 1, of);
}

double planned_side_bits(const SolverOptions& options, int64_t rows, int64_t cols) {
  const int64_t count = outlier_count(options, rows, cols);
  const bool columns = options.outlier_mode == OutlierMode::kColumns;
  return SideMatrix::bits(columns ? 0 : count, columns ? count : 0, rows, cols);
}

double largest_eigenvalue(View2<const float> c) {
  constexpr int kSteps = 40;
  constexpr double kMargin = 1.02;  // the iteration comes from below
  const auto n = static_cast<std::size_t>(c.rows);
  std::vector<double> x(n);
  std::vector<double> y(n);
  for (std::size_t j = 0; j < n; ++j) x[j] = 1.0 + 0.5 * std::sin(static_cast<double>(j));
  double value = 0;
  for (int step = 0; step < kSteps; ++step) {
    double norm = 0;
    for (std::size_t i = 0; i < n; ++i) norm += x[i] * x[i];
    norm = std::sqrt(norm);
    if (!(norm > 0) || !std::isfinite(norm)) return 1;
    for (std::size_t i = 0; i < n; ++i) {
      const float* row = c.row(static_cast<int64_t>(i));
      double sum = 0;
#pragma omp simd reduction(+ : sum)
      for (std::size_t j = 0; j < n; ++j) sum += row[j] * x[j];
      y[i] = sum / norm;
    }
    value = 0;
    for (const double v : y) value += v * v;
    value = std::sqrt(value);
    std::swap(x, y);
  }
  return value > 0 && std::isfinite(value) ? kMargin * value : 1;
}

void choose_support(const SolverOptions& options, const GptqFactor* factor,
                    std::vector<OutlierStrip>* strips, ThreadPool& pool) {
  const bool sensitivity = options.outlier_selector == OutlierSelector::kSensitivity;
  const int64_t n = strips->empty() ? 0 : strips->front().strip.n();
  // 1 / sqrt([C^-1]_jj), C^-1 = U^T U in solving order.
  std::vector<float> weight(static_cast<std::size_t>(n), 1.0F);
  if (sensitivity && factor != nullptr) {
    for (int64_t k = 0; k < n; ++k) {
      double sum = 0;
      for (int64_t i = 0; i <= k; ++i)
        sum += static_cast<double>(factor->u(i, k)) * factor->u(i, k);
      weight[static_cast<std::size_t>(factor->order[static_cast<std::size_t>(k)])] =
          static_cast<float>(1.0 / std::sqrt(sum));
    }
  }
  std::vector<MatrixF> scores(strips->size());
  pool.for_each(strip_count(*strips), [&](int64_t at, int) {
    const OutlierStrip& s = (*strips)[static_cast<std::size_t>(at)];
    const int64_t lanes = s.e.cols();
    MatrixF score(n, lanes);
    for (int64_t j = 0; j < n; ++j) {
      const float* w = s.strip.w().row(j);
      float* out = score.row(j);
      const float by = sensitivity ? weight[static_cast<std::size_t>(j)] : s.strip.column_unit(j);
      if (sensitivity) s.strip.project(j, w, out);
      for (int64_t i = 0; i < lanes; ++i) {
        out[i] = finite_score(std::abs(w[i] - out[i]) * by * s.strip.row_unit(i));
      }
    }
    scores[static_cast<std::size_t>(at)] = std::move(score);
  });
  set_support(options, scores, strips);
}

void threshold_step(const SolverOptions& options, double lambda, std::vector<OutlierStrip>* strips,
                    ThreadPool& pool) {
  const auto eta = static_cast<float>(1.0 / lambda);
  step_support(options, strips, pool,
               [eta](OutlierStrip* s, int64_t j, float* v, float* q, float* d) {
                 const float* w = s->strip.w().row(j);
                 float* e = s->e.row(j);
                 const int64_t lanes = s->e.cols();
                 for (int64_t i = 0; i < lanes; ++i) q[i] = w[i] - e[i];
                 grid_part(*s, j, q, d);
                 for (int64_t i = 0; i < lanes; ++i) {
                   v[i] = (q[i] - d[i]) + eta * v[i];
                   e[i] = w[i] - d[i];
                 }
               });
}

void exchange_step(const SolverOptions& options, std::vector<OutlierStrip>* strips,
                   ThreadPool& pool) {
  step_support(options, strips, pool, [](OutlierStrip* s, int64_t j, float* v, float* q, float* d) {
    const float* w = s->strip.w().row(j);
    float* e = s->e.row(j);
    const uint8_t* free = s->free.row(j);
    const int64_t lanes = s->e.cols();
    for (int64_t i = 0; i < lanes; ++i) q[i] = w[i] - e[i] + v[i];
    s->strip.project(j, q, d);
    for (int64_t i = 0; i < lanes; ++i) {
      // Outside the support D' stays where it is: q' moves only where S' may.
      const float point = free[i] != 0 ? d[i] : w[i] - e[i];
      v[i] = q[i] - d[i];
      e[i] = w[i] - point;
    }
  });
}

QuantGrid fit_without_outliers(const LayerProblem& problem, const std::vector<OutlierStrip>& strips,
                               ThreadPool& pool) {
  QuantGrid grid = problem.grid->clone();
  if (problem.fit == nullptr) return grid;
  pool.for_each(strip_count(strips), [&](int64_t at, int) {
    const OutlierStrip& s = strips[static_cast<std::size_t>(at)];
    const int64_t row0 = s.strip.row0();
    MatrixF rest(s.strip.rows(), problem.w.cols);
    for (int64_t i = 0; i < rest.rows(); ++i) {
      const float* w = problem.w.row(row0 + i);
      for (int64_t j = 0; j < rest.cols(); ++j) rest(i, j) = s.free(j, i) != 0 ? 0.0F : w[j];
    }
    const QuantGrid part =
        problem.fit->kind->fit(problem.fit->options, rest.view(), problem.hessian->diagonal());
    grid.take_rows(part, row0);
  });
  return grid;
}

void set_grid(const LayerProblem& problem, const QuantGrid& grid,
              std::vector<OutlierStrip>* strips) {
  LayerProblem other = problem;
  other.grid = &grid;
  for (OutlierStrip& s : *strips) {
    const Strip from(other, s.strip.row0(), s.strip.rows());
    for (int64_t i = 0; i < s.strip.rows(); ++i) s.strip.take_scales(from.all_scales(), i);
  }
}

void feed_errors_back(const GptqFactor& factor, bool choose_scales, OutlierStrip* strip) {
  const Strip given = strip->strip.clone();
  const float top = static_cast<float>(given.problem().grid->levels - 1);
  const auto run = [&](OutlierStrip* s) {
    const MatrixF q = error_feedback(s->strip, factor, s->free.view()).q;
    given.w_minus(q.view(), s->e.view());
  };
  run(strip);
  if (!choose_scales) return;
  OutlierStrip trial = strip->clone();
  for (std::size_t t = 1; t < kScaleTrials.size(); ++t) {
    const ScaleTrial& by = kScaleTrials[t];
    if (by.zero_shift != 0 && !given.problem().grid->zero_is_free) continue;
    for (int64_t g = 0; g < given.scales().rows; ++g) {
      for (int64_t i = 0; i < given.lanes(); ++i) {
        const float zero = given.zeros()(g, i);
        trial.strip.set_scale(g, i, given.scales()(g, i) * by.factor);
        trial.strip.set_zero(
            g, i, by.zero_shift == 0 ? zero : std::clamp(zero + by.zero_shift, 0.0F, top));
      }
    }
    trial.strip.settle_scales();
    run(&trial);
    take_better_rows(trial, strip);
  }
}

void sweep_outliers(int sweeps, OutlierStrip* strip) {
  SweepScratch scratch;
  for (int k = 0; k < sweeps; ++k) {
    const int64_t moved =
        coordinate_sweep(strip->strip, strip->strip.problem().hessian->correlation(), false,
                         strip->e.view(), &scratch, strip->free.view());
    if (moved == 0) break;
  }
}

void polish_outliers(int rounds, int sweeps, OutlierStrip* strip) {
  Strip& s = strip->strip;
  MatrixF w(s.n(), s.lanes());
  std::copy_n(s.w().data, w.size(), w.data());
  MatrixF d(s.n(), s.lanes());
  MatrixF rest(s.n(), s.lanes());  // w' - S', the target of D'
  for (int round = 0; round < rounds; ++round) {
    split(*strip, rest.view(), d.view());
    for (int64_t k = 0; k < rest.size(); ++k) {
      rest.data()[k] = w.data()[k] - (rest.data()[k] - d.data()[k]);
    }
    s.set_w(rest.view());
    refit_scales(&s, d.view());
    s.set_w(w.view());
    for (int64_t k = 0; k < d.size(); ++k) strip->e.data()[k] = rest.data()[k] - d.data()[k];
    sweep_outliers(sweeps, strip);
  }
}

double solve_grid_part(const LayerProblem& problem, const SolverMethod& method,
                       const SolverOptions& options, std::vector<OutlierStrip>* strips,
                       ThreadPool& pool) {
  MatrixF rest(problem.w.rows, problem.w.cols);  // W - S
  Matrix<uint8_t> codes(problem.w.rows, problem.w.cols);
  QuantGrid grid = problem.grid->clone();
  std::vector<MatrixF> sides(strips->size());  // S', (n, lanes)
  pool.for_each(strip_count(*strips), [&](int64_t at, int) {
    const OutlierStrip& s = (*strips)[static_cast<std::size_t>(at)];
    MatrixF side(s.e.rows(), s.e.cols());
    MatrixF d(s.e.rows(), s.e.cols());
    split(s, side.view(), d.view());
    s.strip.store(d.view(), codes.view(), &grid);
    for (int64_t k = 0; k < side.size(); ++k) side.data()[k] -= d.data()[k];
    for (int64_t i = 0; i < s.strip.rows(); ++i) {
      const int64_t row = s.strip.row0() + i;
      for (int64_t j = 0; j < rest.cols(); ++j) {
        rest(row, j) =
            problem.w(row, j) - side(j, i) * s.strip.column_unit(j) * s.strip.row_unit(i);
      }
    }
    sides[static_cast<std::size_t>(at)] = std::move(side);
  });
  const LayerProblem plain{rest.view(), problem.hessian, &grid, {}};
  const LayerSolution solution = method.solve(plain, options, pool);
  const LayerProblem solved{problem.w, problem.hessian, &solution.grid, solution.codes.view()};
  pool.for_each(strip_count(*strips), [&](int64_t at, int) {
    OutlierStrip& s = (*strips)[static_cast<std::size_t>(at)];
    const Strip view(solved, s.strip.row0(), s.strip.rows());
    OutlierStrip candidate = s.clone();
    for (int64_t i = 0; i < s.strip.rows(); ++i) candidate.strip.take_scales(view.all_scales(), i);
    const MatrixF d = view.start();
    const float* side = sides[static_cast<std::size_t>(at)].data();
    for (int64_t k = 0; k < d.size(); ++k) {
      candidate.e.data()[k] = view.w().data[k] - d.data()[k] - side[k];
    }
    take_better_rows(candidate, &s);
  });
  return solution.gemm_flops;
}

double total_error(const std::vector<OutlierStrip>& strips, ThreadPool& pool) {
  std::vector<double> parts(strips.size(), 0.0);
  pool.for_each(strip_count(strips), [&](int64_t at, int) {
    const OutlierStrip& s = strips[static_cast<std::size_t>(at)];
    MatrixF product(s.e.rows(), s.e.cols());
    for (const double v : s.strip.errors(s.e.view(), product.view())) {
      parts[static_cast<std::size_t>(at)] += v;
    }
  });
  return std::accumulate(parts.begin(), parts.end(), 0.0);
}

LayerSolution finish_outliers(const LayerProblem& problem, OutlierMode mode,
                              std::vector<OutlierStrip>* strips, ThreadPool& pool) {
  LayerSolution solution = start_solution(problem);
  RowErrors rows(problem.w.rows);
  const int64_t n = problem.w.cols;
  MatrixF side(problem.w.rows, n);
  Matrix<uint8_t> support(problem.w.rows, n);
  pool.for_each(strip_count(*strips), [&](int64_t at, int) {
    OutlierStrip& s = (*strips)[static_cast<std::size_t>(at)];
    const int64_t lanes = s.e.cols();
    MatrixF q(n, lanes);
    MatrixF on_grid(n, lanes);  // D': the codes of q' itself may differ where S' is half a step
    for (int64_t j = 0; j < n; ++j) {
      const float* w = s.strip.w().row(j);
      float* out = q.row(j);
      for (int64_t i = 0; i < lanes; ++i) out[i] = w[i] - s.e(j, i);
      grid_part(s, j, out, on_grid.row(j));
      const float column = s.strip.column_unit(j);
      for (int64_t i = 0; i < s.strip.rows(); ++i) {
        if (s.free(j, i) == 0 || column == 0) continue;
        const float unit = s.strip.row_unit(i);
        const float point = on_grid(j, i);
        const float value = to_half((out[i] - point) * column * unit);
        out[i] = point + value / unit / column;
        side(s.strip.row0() + i, j) = value;
        support(s.strip.row0() + i, j) = 1;
      }
    }
    finish_strip(s.strip, q.view(), &solution, &rows, on_grid.view());
  });
  finish_solution(rows, &solution);
  std::vector<uint8_t> column_used(static_cast<std::size_t>(n), 0);
  for (int64_t i = 0; i < problem.w.rows; ++i) {
    const bool plain = rows.kept_rtn[static_cast<std::size_t>(i)] != 0;
    for (int64_t j = 0; j < n; ++j) {
      if (support(i, j) == 0) continue;
      column_used[static_cast<std::size_t>(j)] = 1;
      if (plain) side(i, j) = 0;
      if (mode == OutlierMode::kUnstructured && !plain) {
        solution.side.entries.push_back({i, j, side(i, j)});
      }
    }
  }
  if (mode == OutlierMode::kColumns) {
    for (int64_t j = 0; j < n; ++j) {
      if (column_used[static_cast<std::size_t>(j)] != 0) solution.side.columns.push_back(j);
    }
    const auto count = static_cast<int64_t>(solution.side.columns.size());
    solution.side.column_values = MatrixF(problem.w.rows, count);
    for (int64_t i = 0; i < problem.w.rows; ++i) {
      for (int64_t c = 0; c < count; ++c) {
        solution.side.column_values(i, c) =
            side(i, solution.side.columns[static_cast<std::size_t>(c)]);
      }
    }
  }
  return solution;
}

}  // namespace coldpress
