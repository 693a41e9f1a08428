#include "solver/strip.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "grid/scale_rule.h"
#include "linalg/blas.h"

namespace coldpress {

namespace {
constexpr int64_t kLaneMultiple = 16;
constexpr int64_t kMaxStripRows = 192;
constexpr int kLargestExponent = 120;
constexpr int kLargestScaleExponent = 60;  // of a scale in the row's frame

// k of a row's frame: 2^k is about its largest |w_j| d_j. Raised where that would take a scale out
// of fp32's reach, as a huge weight in a dead column does.
int row_exponent(const LayerProblem& problem, int64_t row) {
  const std::vector<float>& d = problem.hessian->d();
  double largest = 0;
  for (std::size_t j = 0; j < d.size(); ++j) {
    largest = std::max(largest, std::abs(static_cast<double>(problem.w.row(row)[j]) * d[j]));
  }
  float scale = 0;
  for (int64_t g = 0; g < problem.grid->groups(); ++g) {
    scale = std::max(scale, std::abs(problem.grid->scale(row, g)));
  }
  int k = 0;
  int of_scale = 0;
  if (largest > 0 && std::isfinite(largest)) std::frexp(largest, &k);
  std::frexp(scale, &of_scale);
  k = std::max(k, of_scale - kLargestScaleExponent);
  return std::clamp(k, -kLargestExponent, kLargestExponent);
}
}  // namespace

std::vector<StripRange> cut_into_strips(int64_t rows) {
  std::vector<StripRange> strips;
  if (rows == 0) return strips;
  int64_t count = 2 * ((rows + 2 * kMaxStripRows - 1) / (2 * kMaxStripRows));
  count = std::min(count, (rows + kLaneMultiple - 1) / kLaneMultiple);
  // Whole multiples of 16 rows, so that only the last strip has padded lanes.
  const int64_t units = (rows + kLaneMultiple - 1) / kLaneMultiple;
  for (int64_t s = 0; s < count; ++s) {
    const int64_t first = s * units / count * kLaneMultiple;
    const int64_t last = std::min(rows, (s + 1) * units / count * kLaneMultiple);
    if (last > first) strips.push_back({first, last - first});
  }
  return strips;
}

Strip::Strip(const LayerProblem& problem, int64_t row0, int64_t rows)
    : problem_(&problem), row0_(row0), rows_(rows), d_(problem.hessian->d()) {
  const QuantGrid& grid = *problem.grid;
  const int64_t columns = problem.w.cols;
  COLDPRESS_CHECK(grid.rows == problem.w.rows && grid.cols == columns);
  COLDPRESS_CHECK(problem.hessian->n() == columns);
  const int64_t width = (rows + kLaneMultiple - 1) / kLaneMultiple * kLaneMultiple;
  w_ = MatrixF(columns, width);
  s_.scale = MatrixF(grid.groups(), width);
  s_.inverse = MatrixF(grid.groups(), width);
  s_.zero = MatrixF(grid.groups(), width);
  exponent_.assign(static_cast<std::size_t>(width), 0);
  inverse_d_.resize(d_.size());
  for (std::size_t j = 0; j < d_.size(); ++j) inverse_d_[j] = d_[j] > 0 ? 1.0F / d_[j] : 0.0F;
  std::vector<float> factor(static_cast<std::size_t>(width), 1.0F);
  for (int64_t i = 0; i < rows; ++i) {
    const int k = row_exponent(problem, row0 + i);
    exponent_[static_cast<std::size_t>(i)] = k;
    factor[static_cast<std::size_t>(i)] = std::ldexp(1.0F, -k);
  }
  constexpr int64_t kTile = 16;  // transposes in tiles: both sides stay in cache
  for (int64_t j0 = 0; j0 < columns; j0 += kTile) {
    for (int64_t i = 0; i < rows; ++i) {
      const float* row = problem.w.row(row0 + i);
      const double by =
          factor[static_cast<std::size_t>(i)];  // w by may leave fp32 where w by d is in
      for (int64_t j = j0; j < std::min(columns, j0 + kTile); ++j) {
        w_(j, i) = static_cast<float>(by * row[j] * d_[static_cast<std::size_t>(j)]);
      }
    }
  }
  for (int64_t g = 0; g < grid.groups(); ++g) {
    for (int64_t i = 0; i < width; ++i) {
      const float s = i < rows ? grid.scale(row0 + i, g) * factor[static_cast<std::size_t>(i)] : 1;
      s_.scale(g, i) = s;
      s_.inverse(g, i) = s != 0 ? 1.0F / s : 0.0F;
      s_.zero(g, i) = i < rows ? grid.zero(row0 + i, g) : 0;
    }
  }
  const auto units_of = [&](const MatrixF& unit) {
    MatrixF out(unit.cols(), unit.cols() > 0 ? width : 0);
    for (int64_t u = 0; u < out.rows(); ++u) {
      for (int64_t i = 0; i < rows; ++i) {
        out(u, i) = unit(row0 + i, u) * factor[static_cast<std::size_t>(i)];
      }
    }
    return out;
  };
  s_.unit = units_of(grid.unit);
  s_.offset_unit = units_of(grid.offset_unit);
  table_ = LevelTable(grid.level);
}

Strip Strip::clone() const {
  Strip s;
  s.problem_ = problem_;
  s.row0_ = row0_;
  s.rows_ = rows_;
  s.w_ = w_.clone();
  s.d_ = d_;
  s.inverse_d_ = inverse_d_;
  s.s_ = s_.clone();
  s.exponent_ = exponent_;
  s.table_ = table_;
  return s;
}

void Strip::project_unit(int64_t first, View2<const float> t, View2<float> q) const {
  const Codebook* book = problem_->grid->book;
  if (book == nullptr) return project(first, t.row(0), q.row(0));
  constexpr auto kUnit = static_cast<std::size_t>(Codebook::kUnit);
  for (int64_t lane = 0; lane < lanes(); lane += kLanes) {
    Codebook::Unit target;
    Codebook::Unit steps;
    for (std::size_t j = 0; j < kUnit; ++j) {
      target[j] = load_lanes(t.row(static_cast<int64_t>(j)) + lane);
      steps[j] = step(first + static_cast<int64_t>(j), lane);
    }
    Codebook::Unit level;
    book->nearest(target, steps, &level);
    for (std::size_t j = 0; j < kUnit; ++j) {
      store_lanes(steps[j] * level[j], q.row(static_cast<int64_t>(j)) + lane);
    }
  }
}

void Strip::project(int64_t j, const float* t, float* q) const {
  COLDPRESS_CHECK(problem_->grid->book == nullptr);
  const int64_t count = lanes();
  const int64_t g = j / problem_->grid->group;
  const float* s = s_.scale.row(g);
  const float* inverse = s_.inverse.row(g);
  const float* z = s_.zero.row(g);
  const float d = d_[static_cast<std::size_t>(j)];
  const float inverse_d = inverse_d_[static_cast<std::size_t>(j)];
  if (table_.empty()) {
    const float top = static_cast<float>(problem_->grid->levels - 1);
#pragma omp simd
    for (int64_t i = 0; i < count; ++i) {
      const float c =
          std::min(std::max(0.0F, std::rint(t[i] * inverse_d * inverse[i] + z[i])), top);
      q[i] = s[i] * (c - z[i]) * d;
    }
    return;
  }
  const LevelTable table = table_;  // a copy, so that no store can be into it
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    q[i] = s[i] * (table.nearest(t[i] * inverse_d * inverse[i] + z[i]) - z[i]) * d;
  }
}

void Strip::project_row(int64_t lane, const float* t, float* q) const {
  const LevelTable table = table_;
  const float top = static_cast<float>(problem_->grid->levels - 1);
  const float* d = d_.data();
  const float* inverse_d = inverse_d_.data();
  for (int64_t g = 0; g < s_.scale.rows(); ++g) {
    const float s = s_.scale(g, lane);
    const float inverse = s_.inverse(g, lane);
    const float z = s_.zero(g, lane);
    const int64_t first = g * group();
    const int64_t last = first + group();
    if (table.empty()) {
#pragma omp simd
      for (int64_t j = first; j < last; ++j) {
        const float c = std::min(std::max(0.0F, std::rint(t[j] * inverse_d[j] * inverse + z)), top);
        q[j] = s * (c - z) * d[j];
      }
      continue;
    }
#pragma omp simd
    for (int64_t j = first; j < last; ++j) {
      q[j] = s * (table.nearest(t[j] * inverse_d[j] * inverse + z) - z) * d[j];
    }
  }
}

uint8_t Strip::code(int64_t j, int64_t i, float q) const {
  if (dead(j)) return 0;
  const int64_t g = j / group();
  const float t = q * column_unit(j) * s_.inverse(g, i) + s_.zero(g, i);
  if (table_.empty()) {
    const float top = static_cast<float>(problem_->grid->levels - 1);
    return static_cast<uint8_t>(std::min(std::max(0.0F, std::rint(t)), top));
  }
  return static_cast<uint8_t>(table_.code(t));
}

float Strip::point(int64_t j, int64_t i, uint8_t code) const {
  const int64_t g = j / group();
  const float l = table_.empty() ? static_cast<float>(code) : table_[code];
  return s_.scale(g, i) * (l - s_.zero(g, i)) * d_[static_cast<std::size_t>(j)];
}

MatrixF Strip::round_to_nearest() const {
  MatrixF q(n(), lanes());
  for (int64_t j = 0; j < n(); j += tuple()) {
    project_unit(j, w_.view().row_range(j, tuple()), q.view().row_range(j, tuple()));
  }
  return q;
}

MatrixF Strip::given_round_to_nearest() const {
  const Matrix<uint8_t> codes = round_to_grid(*problem_->grid, problem_->w.row_range(row0_, rows_),
                                              problem_->hessian->diagonal(), row0_);
  return points([&](int64_t j, int64_t i) { return codes(i, j); });
}

MatrixF Strip::start() const {
  if (problem_->init.data == nullptr) return round_to_nearest();
  return points([this](int64_t j, int64_t i) { return problem_->init(row0_ + i, j); });
}

void Strip::w_minus(View2<const float> x, View2<float> out) const {
  for (int64_t j = 0; j < n(); ++j) {
    const float* w = w_.row(j);
    const float* from = x.row(j);
    float* to = out.row(j);
#pragma omp simd
    for (int64_t i = 0; i < lanes(); ++i) to[i] = w[i] - from[i];
  }
}

std::vector<double> Strip::errors(View2<const float> e, View2<float> product) const {
  // C is symmetric: what lies below a block of its diagonal counts twice, what lies above not at
  // all, for little more than half the arithmetic.
  constexpr int64_t kBlock = 256;
  const View2<const float> c = problem_->hessian->correlation();
  for (int64_t first = 0; first < n(); first += kBlock) {
    const int64_t rows = std::min(kBlock, n() - first);
    const View2<float> out = product.row_range(first, rows);
    gemm(Trans::kNo, Trans::kNo, 1.0F, c.block(first, first, rows, rows), e.row_range(first, rows),
         0.0F, out);
    if (first == 0) continue;
    gemm(Trans::kNo, Trans::kNo, 2.0F, c.block(first, 0, rows, first), e.row_range(0, first), 1.0F,
         out);
  }
  std::vector<double> f(static_cast<std::size_t>(lanes()), 0.0);
  double* sum = f.data();
  for (int64_t j = 0; j < n(); ++j) {
    const float* a = e.row(j);
    const float* b = product.row(j);
#pragma omp simd
    for (int64_t i = 0; i < lanes(); ++i) {
      sum[i] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    }
  }
  const double unit = problem_->hessian->scale() * problem_->hessian->scale();
  for (int64_t i = 0; i < rows_; ++i) {
    double& v = f[static_cast<std::size_t>(i)];
    v = std::max(v, 0.0) * unit * std::ldexp(1.0, 2 * exponent_[static_cast<std::size_t>(i)]);
  }
  f.resize(static_cast<std::size_t>(rows_));
  return f;
}

void Strip::store(View2<const float> q, View2<uint8_t> codes, QuantGrid* grid) const {
  const QuantGrid& given = *problem_->grid;
  const bool has_units = given.scale_rule.has_units();
  const auto store_units = [&](const MatrixF& unit, const MatrixF& unmoved, MatrixF* out) {
    for (int64_t u = 0; u < unit.rows(); ++u) {
      for (int64_t i = 0; i < rows_; ++i) {
        const float v = unit(u, i) * row_unit(i);
        const bool keep = unit(u, i) == unmoved(row0_ + i, u) / row_unit(i);
        (*out)(row0_ + i, u) = keep ? unmoved(row0_ + i, u) : v;
      }
    }
  };
  store_units(s_.unit, given.unit, &grid->unit);
  store_units(s_.offset_unit, given.offset_unit, &grid->offset_unit);
  for (int64_t g = 0; g < s_.scale.rows(); ++g) {
    const int64_t u = has_units ? g / given.scale_rule.groups_per_unit : 0;
    for (int64_t i = 0; i < rows_; ++i) {
      grid->zero(row0_ + i, g) = s_.zero(g, i);
      // A scale that has not moved stays as given to the last bit, also where its image in the
      // frame was too small for fp32.
      const float old = given.scale(row0_ + i, g);
      const float unit = has_units ? grid->unit(row0_ + i, u) : 1.0F;
      const float moved = storable_scale(given.scale_rule, unit, s_.scale(g, i) * row_unit(i));
      const bool keep = s_.scale(g, i) == old / row_unit(i) || moved == 0 || !std::isfinite(moved);
      grid->scale(row0_ + i, g) = keep ? old : moved;
    }
  }
  for (int64_t j = 0; j < n(); ++j) {
    for (int64_t i = 0; i < rows_; ++i) {
      const int64_t row = row0_ + i;
      codes(row, j) = dead(j) && grid->book == nullptr
                          ? coldpress::project(*grid, row, j, problem_->w(row, j))
                          : code(j, i, q(j, i));
    }
  }
  if (grid->book == nullptr) return;
  for (int64_t row = row0_; row < row0_ + rows_; ++row) {
    for (int64_t j = 0; j < n(); j += tuple()) store_unit(*grid, row, j, codes.row(row) + j);
  }
}

// Makes the codes of a unit, which are right where columns are not dead, a point of the book: the
// dead ones near their weights.
void Strip::store_unit(const QuantGrid& grid, int64_t row, int64_t first, uint8_t* codes) const {
  constexpr auto kUnit = static_cast<std::size_t>(Codebook::kUnit);
  constexpr float kAlive = 1e6F;  // over a dead column's weight
  bool has_dead = false;
  for (int64_t j = first; j < first + Codebook::kUnit; ++j) has_dead = has_dead || dead(j);
  if (!has_dead && grid.book->has(codes)) return;
  const float farthest = 2.0F * grid.level.back();
  std::array<float, kUnit> wanted{};
  std::array<float, kUnit> weight{};
  for (std::size_t k = 0; k < kUnit; ++k) {
    const int64_t j = first + static_cast<int64_t>(k);
    const float level = problem_->w(row, j) / grid.scale(row, j / group());
    wanted[k] = dead(j) ? std::min(std::max(-farthest, level), farthest) : grid.level[codes[k]];
    weight[k] = dead(j) ? 1.0F : kAlive;
  }
  grid.book->nearest_codes(wanted.data(), weight.data(), codes);
}

float Strip::storable(int64_t g, int64_t i, float scale) const {
  const ScaleRule& rule = problem_->grid->scale_rule;
  if (rule.is_exact()) return scale;
  if (rule.has_units()) return storable_scale(rule, s_.unit(g / rule.groups_per_unit, i), scale);
  const float s = storable_scale(rule, 1.0F, scale * row_unit(i)) / row_unit(i);
  return s != 0 && std::isfinite(s) ? s : scale;
}

float Strip::storable_offset(int64_t g, int64_t i, float offset) const {
  const ScaleRule& rule = problem_->grid->offset_rule;
  if (rule.has_units()) {
    return coldpress::storable_offset(rule, s_.offset_unit(g / rule.groups_per_unit, i), offset);
  }
  return coldpress::storable_offset(rule, 1.0F, offset * row_unit(i)) / row_unit(i);
}

bool Strip::is_settled(int64_t i) const {
  const QuantGrid& grid = *problem_->grid;
  for (int64_t g = 0; g < s_.scale.rows(); ++g) {
    const float scale = s_.scale(g, i);
    if (storable(g, i, scale) != scale) return false;
    // A zero is the rounded quotient of two stored numbers.
    const float offset = scale * s_.zero(g, i);
    if (grid.has_offset && storable_offset(g, i, offset) * s_.inverse(g, i) != s_.zero(g, i)) {
      return false;
    }
  }
  return true;
}

void Strip::choose_units(const ScaleRule& rule, bool of_offsets, int64_t i, MatrixF* unit) const {
  const auto count = static_cast<std::size_t>(rule.groups_per_unit);
  std::vector<float> values(count);
  const std::vector<float> weights(count, 1.0F);
  for (int64_t u = 0; u < unit->rows(); ++u) {
    for (std::size_t k = 0; k < count; ++k) {
      const int64_t g = u * rule.groups_per_unit + static_cast<int64_t>(k);
      values[k] = s_.scale(g, i) * (of_offsets ? s_.zero(g, i) : 1.0F) * row_unit(i);
    }
    (*unit)(u, i) = choose_unit(rule, values, weights) / row_unit(i);
  }
}

void Strip::settle_scales() {
  const QuantGrid& grid = *problem_->grid;
  if (grid.scale_rule.is_exact() && !grid.has_offset) return;
  for (int64_t i = 0; i < rows_; ++i) {
    if (is_settled(i)) continue;
    if (grid.has_offset && grid.offset_rule.has_units()) {
      choose_units(grid.offset_rule, true, i, &s_.offset_unit);
    }
    if (grid.scale_rule.has_units()) choose_units(grid.scale_rule, false, i, &s_.unit);
    for (int64_t g = 0; g < s_.scale.rows(); ++g) {
      const float offset = s_.scale(g, i) * s_.zero(g, i);
      set_scale(g, i, storable(g, i, s_.scale(g, i)));
      if (grid.has_offset) s_.zero(g, i) = storable_offset(g, i, offset) * s_.inverse(g, i);
    }
  }
}

void Strip::set_w(View2<const float> w) {
  COLDPRESS_CHECK(w.rows == n() && w.cols == lanes());
  for (int64_t j = 0; j < n(); ++j) std::copy(w.row(j), w.row(j) + lanes(), w_.row(j));
}

StripScales StripScales::clone() const {
  return {scale.clone(), inverse.clone(), zero.clone(), unit.clone(), offset_unit.clone()};
}

void StripScales::take(const StripScales& from, int64_t lane) {
  const auto take = [lane](const MatrixF& source, MatrixF* target) {
    for (int64_t g = 0; g < source.rows(); ++g) (*target)(g, lane) = source(g, lane);
  };
  take(from.scale, &scale);
  take(from.inverse, &inverse);
  take(from.zero, &zero);
  take(from.unit, &unit);
  take(from.offset_unit, &offset_unit);
}

LayerSolution start_solution(const LayerProblem& problem) {
  LayerSolution solution;
  solution.codes = Matrix<uint8_t>(problem.w.rows, problem.w.cols);
  solution.grid = problem.grid->clone();
  return solution;
}

void finish_strip(const Strip& strip, View2<const float> q, LayerSolution* solution,
                  RowErrors* rows, View2<const float> on_grid) {
  if (on_grid.data == nullptr) on_grid = q;
  const int64_t n = strip.n();
  const int64_t lanes = strip.lanes();
  MatrixF e(n, lanes);
  MatrixF product(n, lanes);
  const auto errors_of = [&](View2<const float> point) {
    strip.w_minus(point, e.view());
    return strip.errors(e.view(), product.view());
  };
  const std::vector<double> energy = strip.errors(strip.w(), product.view());
  const std::vector<double> solved = errors_of(q);
  const Strip given(strip.problem(), strip.row0(), strip.rows());
  MatrixF rounded = given.given_round_to_nearest();
  const std::vector<double> rtn = errors_of(rounded.view());
  Strip best = strip.clone();
  for (int64_t i = 0; i < strip.rows(); ++i) {
    const auto at = static_cast<std::size_t>(strip.row0() + i);
    const double f = solved[static_cast<std::size_t>(i)];
    rows->rtn_error[at] = rtn[static_cast<std::size_t>(i)];
    rows->energy[at] = energy[static_cast<std::size_t>(i)];
    // False for a NaN too: then RTN stays.
    const bool better = f < rtn[static_cast<std::size_t>(i)];
    rows->error[at] = better ? f : rtn[static_cast<std::size_t>(i)];
    rows->kept_rtn[at] = better ? 0 : 1;
    if (better) {
      for (int64_t j = 0; j < n; ++j) rounded(j, i) = on_grid(j, i);
    } else {
      best.take_scales(given.all_scales(), i);
    }
  }
  best.store(rounded.view(), solution->codes.view(), &solution->grid);
}

void finish_solution(const RowErrors& rows, LayerSolution* solution) {
  for (std::size_t i = 0; i < rows.error.size(); ++i) {
    solution->error += rows.error[i];
    solution->rtn_error += rows.rtn_error[i];
    solution->energy += rows.energy[i];
    solution->outcome.rows_from_rtn += rows.kept_rtn[i];
  }
}

}  // namespace coldpress
