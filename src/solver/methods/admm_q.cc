// ADMM-Q (2605.11222): split a continuous copy X from the on-grid copy D, penalise their distance
// harder and harder, then search single-code moves.
//
//   paper        here (preconditioned frame, tap_hessian.h; matrices transposed: (n, lanes))
//   W, H         w', C
//   X            w' + P (D - w' - U),  P = (C + rho Omega)^-1 rho Omega
//   D            project(X + U)
//   V / rho      U, rescaled when rho changes
//   rho_0        kRhoShare of the geometric mean eigenvalue of C: chosen per tap
//   rho          grows after every kPerLevel iterations (P is formed once per value), twice as fast
//                once few codes change; the search ends early when none does
//   Omega        I with preconditioning; 1/d^2 without (the penalty is then on unscaled weights)
//   local search the best single-code moves of each row (solver/greedy.h), then projected
//                coordinate sweeps (solver/sweep.h)
//
// Beyond the paper, each bought by measurement (docs/solvers.md): starting scales judged by error
// feedback, scales that move with the iterates, refit at the end, several starts, each followed by
// a restart from the best point; per row the best of all that was tried wins, so the result is
// never above error feedback's.
//
// Products with P are of bf16 where the processor has them; local search is in fp32.
//
// Memory beyond the problem and the solution: 3 copies of W (each strip's w', D and U) and its best
// codes, 3 of H (the tap's factor, P and the next P), and per thread a few strips of at most 192
// rows.
#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "linalg/bf16.h"
#include "linalg/spd.h"
#include "solver/error_feedback.h"
#include "solver/polish.h"
#include "solver/refit.h"
#include "solver/solver.h"
#include "solver/strip.h"
#include "solver/sweep.h"

namespace coldpress {
namespace {

constexpr int kPerLevel = 5;
constexpr int kLocalSearch = 10;
constexpr int64_t kColumnsPerGreedyMove = 16;  // a row's greedy moves before the sweeps: n / this
constexpr double kRhoShare = 0.16;
constexpr double kRhoGrowth = 8;       // last rho over first, of a start
constexpr double kRestartGrowth = 4;   // and of a restart
constexpr double kFixedRho = 0.3;      // where rho does not grow
constexpr double kFewChanges = 0.002;  // share of codes that change in an iteration
constexpr int kFixedScaleLevels = 5;   // levels before the scales begin to move
constexpr int64_t kFewGroups = 4;  // of a row, up to which many trials of it are worth their time
constexpr double kRestartRho = 3;  // first rho of a restart over that of a start

// What each effort buys.
struct Effort {
  int iterations;
  int trials;    // of kTrials
  int starts;    // of kStarts
  bool restart;  // after each start, ADMM once more from the best point of each row
  int refit_rounds;
};
constexpr std::array<Effort, 5> kEfforts = {{
    {30, 0, 1, false, 0},
    {40, 0, 1, false, 1},
    {60, 10, 1, false, 2},
    {80, 10, 2, true, 3},
    {80, 14, 8, true, 4},
}};
struct Trial {
  float scale_factor;
  float zero_shift;
};
constexpr std::array<Trial, 14> kTrials = {{{1.0F, 0},
                                            {1.06F, 0},
                                            {1.12F, 0},
                                            {1.18F, 0},
                                            {0.95F, 0},
                                            {1.25F, 0},
                                            {1.0F, 1},
                                            {1.0F, -1},
                                            {1.12F, 1},
                                            {1.12F, -1},
                                            {0.9F, 1},
                                            {0.9F, -1},
                                            {1.3F, 0},
                                            {0.9F, 0}}};
// A start takes each row's trial of this rank (0: the best by error feedback), times the factor.
struct Start {
  std::size_t rank;
  float factor;
};
constexpr std::array<Start, 8> kStarts = {
    {{0, 1.0F}, {1, 1.0F}, {0, 1.05F}, {2, 1.0F}, {0, 0.97F}, {3, 1.0F}, {4, 1.0F}, {1, 1.05F}}};

// The best point of a strip so far, row by row. It keeps no copy of the weights.
struct Best {
  StripRange range;
  StripScales scales;
  Matrix<uint8_t> codes;      // (n, lanes)
  std::vector<double> error;  // of each row

  explicit Best(const Strip& strip)
      : range{strip.row0(), strip.rows()},
        scales(strip.all_scales().clone()),
        codes(strip.n(), strip.lanes()),
        error(static_cast<std::size_t>(strip.rows()), HUGE_VAL) {
    const MatrixF q = strip.start();
    for (int64_t i = 0; i < strip.rows(); ++i) take(strip, q.view(), i);
  }

  void take(const Strip& from, View2<const float> q, int64_t lane) {
    for (int64_t j = 0; j < from.n(); ++j) codes(j, lane) = from.code(j, lane, q(j, lane));
    scales.take(from.all_scales(), lane);
  }

  // The problem's strip on the best scales.
  Strip strip(const LayerProblem& problem) const {
    Strip s(problem, range.row0, range.rows);
    for (int64_t i = 0; i < range.rows; ++i) s.take_scales(scales, i);
    return s;
  }

  // The codes' points q' on `strip`, which is strip().
  MatrixF points(const Strip& strip) const {
    return strip.points([this](int64_t j, int64_t i) { return codes(j, i); });
  }

  // Takes the rows of `candidate`, on `from`'s scales, that are better.
  void merge(const Strip& from, View2<const float> candidate) {
    MatrixF e(from.n(), from.lanes());
    MatrixF product(from.n(), from.lanes());
    from.w_minus(candidate, e.view());
    const std::vector<double> f = from.errors(e.view(), product.view());
    for (int64_t i = 0; i < from.rows(); ++i) {
      const auto row = static_cast<std::size_t>(i);
      if (!(f[row] < error[row])) continue;
      error[row] = f[row];
      take(from, candidate, i);
    }
  }
};

// What ADMM keeps of one strip between levels of rho.
struct StripState {
  Strip strip;
  MatrixF d;            // (n, lanes), on the grid
  MatrixF u;            // (n, lanes)
  int64_t changed = 0;  // codes that the latest iteration moved
};

struct Scratch {
  MatrixF y;     // (n, lanes)
  MatrixF step;  // (n, lanes)
  Bf16Scratch products;
};

// P for one rho; false if C + rho Omega is not numerically positive definite.
bool penalty_inverse(const TapHessian& h, double rho, bool precondition, ThreadPool& pool,
                     Bf16Left* out) {
  const int64_t n = h.n();
  std::vector<float> weight(static_cast<std::size_t>(n), static_cast<float>(rho));
  if (!precondition) {
    for (std::size_t j = 0; j < weight.size(); ++j) {
      const double d = h.d()[j];
      weight[j] = d > 0 ? static_cast<float>(std::min(1e12, rho / (d * d))) : 1.0F;
    }
  }
  MatrixF p(n, n);
  for (int64_t i = 0; i < n; ++i) {
    std::copy(h.correlation().row(i), h.correlation().row(i) + n, p.row(i));
    p(i, i) += weight[static_cast<std::size_t>(i)];
  }
  if (!invert_spd(p.view(), pool)) return false;
  float largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    float* row = p.row(i);
    const float factor = weight[static_cast<std::size_t>(i)];  // of P^T
#pragma omp simd reduction(max : largest)
    for (int64_t j = 0; j < n; ++j) {
      row[j] *= factor;
      largest = std::max(largest, std::abs(row[j]));
    }
  }
  *out = Bf16Left(std::move(p));
  return std::isfinite(largest);
}

// Whether one thread forms P before the others are done with a level's iterations; else all of them
// do so afterwards. n^3 operations, at some 0.6 of SGEMM's rate, against 2 kPerLevel n^2 a row, at
// up to twice that rate.
bool fits_beside_strips(const LayerProblem& problem, int threads) {
  return problem.w.cols * (threads - 1) <= 3 * problem.w.rows;
}

// The first rho: a share of the geometric mean of C's eigenvalues, which the factor's diagonal
// gives.
double first_rho(const GptqFactor* factor) {
  if (factor == nullptr) return kRhoShare;
  double log_det = 0;
  for (int64_t j = 0; j < factor->u.rows(); ++j) log_det -= 2.0 * std::log(factor->u(j, j));
  const double mean = std::exp(log_det / static_cast<double>(factor->u.rows()));
  return kRhoShare * std::clamp(mean, 0.05, 1.0);
}

// `iterations` of ADMM at one rho. With `move_scales`, the last one also refits the scales to X +
// U.
void iterate(StripState* state, const Bf16Left& p, int iterations, bool move_scales,
             Scratch* scratch) {
  Strip& strip = state->strip;
  const int64_t n = strip.n();
  const int64_t lanes = strip.lanes();
  const int64_t unit = strip.tuple();
  if (scratch->y.rows() != n || scratch->y.cols() != lanes) {
    scratch->y = MatrixF(n, lanes);
    scratch->step = MatrixF(n, lanes);
  }
  const float* w = strip.w().data;
  float* u = state->u.data();
  float* d = state->d.data();
  float* y = scratch->y.data();
  for (int k = 0; k < iterations; ++k) {
#pragma omp simd
    for (int64_t at = 0; at < n * lanes; ++at) y[at] = d[at] - w[at] - u[at];
    p.multiply(scratch->y.view(), scratch->step.view(), &scratch->products);
    int64_t changed = 0;
    for (int64_t j = 0; j < n; ++j) {
      const int64_t at = j * lanes;
      float* t = scratch->step.row(j);
      if (j % unit == 0) {
#pragma omp simd
        for (int64_t i = 0; i < unit * lanes; ++i) t[i] += w[at + i] + u[at + i];  // X + U
        strip.project_unit(j, scratch->step.view().row_range(j, unit),
                           scratch->y.view().row_range(j, unit));
      }
      int64_t moved = 0;
#pragma omp simd reduction(+ : moved)
      for (int64_t i = 0; i < lanes; ++i) {
        moved += y[at + i] != d[at + i] ? 1 : 0;
        d[at + i] = y[at + i];
        u[at + i] = t[i] - d[at + i];
      }
      changed += moved;
    }
    state->changed = changed;
  }
  if (!move_scales) return;
  const float* t = scratch->step.data();
  refit_scales_to(scratch->step.view(), &strip, state->d.view());
  for (int64_t at = 0; at < n * lanes; ++at) u[at] = t[at] - d[at];
}

// All that one solve() needs at hand.
struct Search {
  const LayerProblem& problem;
  const SolverOptions& options;
  Effort effort;
  int local_search;
  const GptqFactor* factor;
  ThreadPool& pool;
  std::vector<Best> best;  // one per strip
  // Per strip and row: the trials in order of their error under error feedback.
  std::vector<std::vector<std::vector<std::size_t>>> ranking;
  std::vector<double> products;  // beside ADMM's own, of each strip: (n x n)(n x rows), about
  Outcome outcome;
};

std::span<const Trial> trials_of(const Search& search) {
  int count = std::max(1, search.effort.trials);
  // A factor for a whole row says little of many groups; several starts want different ones.
  if (search.effort.starts == 1 && search.problem.grid->groups() > kFewGroups) {
    count = std::min(count, 2);
  }
  const bool judge = search.factor != nullptr && search.options.move_scales;
  return {kTrials.data(), judge ? static_cast<std::size_t>(count) : 1};
}

// The given strip with lane i on the grid of trials[pick[i]], scales times `factor`.
Strip strip_on_trials(const Strip& given, std::span<const Trial> trials,
                      const std::vector<std::size_t>& pick, float factor) {
  const QuantGrid& grid = *given.problem().grid;
  const float top = static_cast<float>(grid.levels - 1);
  Strip strip = given.clone();
  for (int64_t g = 0; g < strip.scales().rows; ++g) {
    for (int64_t i = 0; i < strip.rows(); ++i) {
      const Trial& t = trials[pick[static_cast<std::size_t>(i)]];
      strip.set_scale(g, i, given.scales()(g, i) * t.scale_factor * factor);
      if (grid.zero_is_free) {
        strip.set_zero(g, i, std::clamp(given.zeros()(g, i) + t.zero_shift, 0.0F, top));
      }
    }
  }
  strip.settle_scales();
  return strip;
}

// Error feedback on each trial grid: ranks them row by row, and gives the first candidates.
void judge_trials(Search* search) {
  const std::span<const Trial> trials = trials_of(*search);
  search->ranking.resize(search->best.size());
  search->products.resize(search->best.size());
  search->pool.for_each(static_cast<int64_t>(search->best.size()), [&](int64_t s, int) {
    Best& best = search->best[static_cast<std::size_t>(s)];
    const Strip given(search->problem, best.range.row0, best.range.rows);
    const auto rows = static_cast<std::size_t>(given.rows());
    std::vector<std::vector<double>> error;
    std::vector<std::size_t> pick(rows);  // each row's best trial so far, and its points
    MatrixF points;
    for (std::size_t t = 0; t < trials.size() && search->factor != nullptr; ++t) {
      const Strip trial = strip_on_trials(given, trials, std::vector<std::size_t>(rows, t), 1.0F);
      Feedback tried = error_feedback(trial, *search->factor);
      error.push_back(estimated_errors(trial, *search->factor, tried));
      tried.err = MatrixF();
      if (t == 0) {
        best.merge(trial, tried.q.view());
        points = std::move(tried.q);
        continue;
      }
      for (std::size_t i = 0; i < rows; ++i) {
        if (!(error[t][i] < error[pick[i]][i])) continue;
        pick[i] = t;
        const auto lane = static_cast<int64_t>(i);
        for (int64_t j = 0; j < given.n(); ++j) points(j, lane) = tried.q(j, lane);
      }
    }
    if (error.size() > 1) best.merge(strip_on_trials(given, trials, pick, 1.0F), points.view());
    const auto feedbacks = static_cast<double>(error.size());
    search->products[static_cast<std::size_t>(s)] = 0.5 * (feedbacks + std::min(feedbacks, 2.0));
    auto& ranking = search->ranking[static_cast<std::size_t>(s)];
    ranking.assign(rows, std::vector<std::size_t>(trials.size(), 0));
    for (std::size_t i = 0; i < rows && !error.empty(); ++i) {
      for (std::size_t t = 0; t < trials.size(); ++t) ranking[i][t] = t;
      std::stable_sort(ranking[i].begin(), ranking[i].end(),
                       [&](std::size_t a, std::size_t b) { return error[a][i] < error[b][i]; });
    }
  });
}

// States of all strips, each made by make(strip index): scales and D; U is 0.
template <typename Make>
std::vector<StripState> make_states(Search* search, Make make) {
  std::vector<StripState> states(search->best.size());
  search->pool.for_each(static_cast<int64_t>(states.size()), [&](int64_t s, int) {
    StripState& state = states[static_cast<std::size_t>(s)];
    state = make(static_cast<std::size_t>(s));
    state.u = MatrixF(state.strip.n(), state.strip.lanes());
  });
  return states;
}

// RTN, or the given codes, on `start`'s scales.
std::vector<StripState> states_at(Search* search, const Start& start) {
  return make_states(search, [&](std::size_t s) {
    const StripRange range = search->best[s].range;
    const Strip given(search->problem, range.row0, range.rows);
    std::vector<std::size_t> pick;
    for (const std::vector<std::size_t>& ranked : search->ranking[s]) {
      pick.push_back(ranked[std::min(start.rank, ranked.size() - 1)]);
    }
    StripState state;
    state.strip = strip_on_trials(given, trials_of(*search), pick, start.factor);
    state.d = state.strip.start();
    return state;
  });
}

// Each row's best point so far, on its own scales.
std::vector<StripState> states_at_best(Search* search) {
  return make_states(search, [&](std::size_t s) {
    StripState state;
    state.strip = search->best[s].strip(search->problem);
    state.d = search->best[s].points(state.strip);
    return state;
  });
}

// One ADMM run from `states`, the first rho times `rho_factor`, then local search and refit;
// candidates go to search->best.
void run_admm(Search* search, std::vector<StripState> states, double rho_factor,
              double rho_growth) {
  const TapHessian& h = *search->problem.hessian;
  const int64_t n = search->problem.w.cols;
  const auto count = static_cast<int64_t>(states.size());
  const SolverOptions& o = search->options;
  const int levels = (search->effort.iterations + kPerLevel - 1) / kPerLevel;
  const double growth = o.grow_rho && levels > 1 ? std::pow(rho_growth, 1.0 / (levels - 1)) : 1.0;
  double rho = (o.grow_rho ? first_rho(search->factor) : kFixedRho) * rho_factor;
  std::vector<Scratch> scratch(static_cast<std::size_t>(search->pool.threads()));
  const double entries = static_cast<double>(search->problem.w.rows) * static_cast<double>(n);
  Bf16Left p;
  Bf16Left p_next;
  bool usable = penalty_inverse(h, rho, o.precondition, search->pool, &p);
  const bool beside = fits_beside_strips(search->problem, search->pool.threads());
  double changed_share = 1;
  for (int level = 0; level < levels && usable && changed_share > 0; ++level) {
    const double next_rho = rho * (changed_share < kFewChanges ? growth * growth : growth);
    const bool last = level + 1 == levels;
    const int here = std::min(kPerLevel, search->effort.iterations - level * kPerLevel);
    const bool move_scales =
        o.move_scales && search->effort.refit_rounds > 0 && level >= kFixedScaleLevels;
    const bool forms_next = !last && growth > 1;
    bool next_usable = true;
    // Task 0 forms the next level's P while the strips use this one's.
    search->pool.for_each(count + 1, [&](int64_t task, int worker) {
      if (task == 0) {
        if (!forms_next || !beside) return;
        ThreadPool own(1);
        next_usable = penalty_inverse(h, next_rho, o.precondition, own, &p_next);
        return;
      }
      StripState& state = states[static_cast<std::size_t>(task - 1)];
      iterate(&state, p, here, move_scales, &scratch[static_cast<std::size_t>(worker)]);
      const auto rescale = static_cast<float>(rho / next_rho);
      for (int64_t at = 0; at < state.u.size(); ++at) state.u.data()[at] *= rescale;
    });
    if (forms_next && !beside) {
      next_usable = penalty_inverse(h, next_rho, o.precondition, search->pool, &p_next);
    }
    int64_t changed = 0;
    for (const StripState& state : states) changed += state.changed;
    changed_share = static_cast<double>(changed) / entries;
    search->outcome.iterations += here;
    if (growth > 1) std::swap(p, p_next);
    rho = next_rho;
    usable = next_usable;
  }
  if (!usable) {
    search->outcome.fallback = "C + rho I could not be inverted; local search from the last point";
  }
  p = {};  // polish needs strips instead
  p_next = {};
  scratch.clear();
  search->pool.for_each(count, [&](int64_t s, int) {
    StripState& state = states[static_cast<std::size_t>(s)];
    search->products[static_cast<std::size_t>(s)] +=
        polish(&state.strip, state.d.view(),
               {.greedy_moves = search->local_search > 0 ? n / kColumnsPerGreedyMove : 0,
                .sweeps = search->local_search,
                .refit_rounds = o.move_scales ? search->effort.refit_rounds : 0,
                .refit_sweeps = 1});
    search->best[static_cast<std::size_t>(s)].merge(state.strip, state.d.view());
  });
}

LayerSolution solve(const LayerProblem& problem, const SolverOptions& options, ThreadPool& pool) {
  Search search{problem,
                options,
                kEfforts[static_cast<std::size_t>(std::clamp(options.effort, 1, 5) - 1)],
                options.local_search >= 0 ? options.local_search : kLocalSearch,
                problem.hessian->gptq_factor(problem.grid->tuple(), pool),
                pool,
                {},
                {},
                {},
                {}};
  if (options.iterations > 0) search.effort.iterations = options.iterations;
  for (const StripRange range : cut_into_strips(problem.w.rows)) {
    search.best.emplace_back(Strip(problem, range.row0, range.rows));
  }
  if (search.factor != nullptr) search.outcome.damping = search.factor->damping;
  judge_trials(&search);
  // Error feedback's points are a better first start than RTN's, where both are at hand.
  const bool is_judged = trials_of(search).size() > 1 && problem.init.data == nullptr;
  for (int k = 0; k < search.effort.starts; ++k) {
    const Start& start = kStarts[static_cast<std::size_t>(k)];
    const bool at_best = k == 0 && is_judged;
    run_admm(&search, at_best ? states_at_best(&search) : states_at(&search, start), 1, kRhoGrowth);
    if (search.effort.restart)
      run_admm(&search, states_at_best(&search), kRestartRho, kRestartGrowth);
  }

  LayerSolution solution = start_solution(problem);
  solution.outcome = search.outcome;
  RowErrors rows(problem.w.rows);
  pool.for_each(static_cast<int64_t>(search.best.size()), [&](int64_t s, int) {
    const Best& best = search.best[static_cast<std::size_t>(s)];
    const Strip strip = best.strip(problem);
    finish_strip(strip, best.points(strip).view(), &solution, &rows);
  });
  finish_solution(rows, &solution);
  const auto size = static_cast<double>(problem.w.cols);
  double products = search.outcome.iterations * static_cast<double>(problem.w.rows);
  for (std::size_t s = 0; s < search.best.size(); ++s) {
    products += search.products[s] * static_cast<double>(search.best[s].range.rows);
  }
  solution.gemm_flops = 2.0 * products * size * size + search.outcome.iterations /
                                                           static_cast<double>(kPerLevel) * size *
                                                           size * size;
  return solution;
}

}  // namespace

extern const SolverMethod kSolverMethod_admm_q;
const SolverMethod kSolverMethod_admm_q = {
    .name = "admm-q",
    .summary = "combinatorial ADMM with preconditioning, growing penalty and local search",
    .uses_hessian = true,
    .solve = solve,
    .memory = {.weights = 3.25, .hessians = 3, .strips = 5},
};

}  // namespace coldpress
