#include "transform/scale_problem.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "linalg/blas.h"
#include "model/sites.h"

namespace coldpress {
namespace {

// e (rows, n) -> sum of e H e^T over its rows.
double energy(View2<const float> e, View2<const float> h) {
  MatrixF eh(e.rows, e.cols);
  gemm(Trans::kNo, Trans::kNo, 1.0F, e, h, 0.0F, eh.view());
  double sum = 0;
  for (int64_t i = 0; i < e.rows; ++i) {
    double row = 0;
    for (int64_t j = 0; j < e.cols; ++j) row += static_cast<double>(eh(i, j)) * e(i, j);
    sum += row;
  }
  return sum;
}

// w times the scales, on its grid where it has one.
MatrixF rounded_weights(const ScaleReader& reader, View2<const float> h,
                        std::span<const float> scales) {
  MatrixF w(reader.w.rows, reader.w.cols);
  for (int64_t i = 0; i < w.rows(); ++i) {
    for (int64_t j = 0; j < w.cols(); ++j) {
      w(i, j) = reader.w(i, j) * scales[static_cast<std::size_t>(j)];
    }
  }
  if (!reader.fit) return w;
  std::vector<float> diagonal;
  for (int64_t j = 0; j < w.cols(); ++j) {
    const float s = scales[static_cast<std::size_t>(j)];
    diagonal.push_back(h(j, j) / (s * s));
  }
  const QuantGrid grid = reader.fit->kind->fit(reader.fit->options, w.view(), diagonal);
  for (int64_t i = 0; i < w.rows(); ++i) {
    for (int64_t j = 0; j < w.cols(); ++j) w(i, j) = grid.value(i, j, project(grid, i, j, w(i, j)));
  }
  return w;
}

double error_over_gram(const ScaleProblem& problem, const ScaleReader& reader,
                       std::span<const float> scales) {
  MatrixF e = rounded_weights(reader, problem.h, scales);
  for (int64_t i = 0; i < e.rows(); ++i) {
    for (int64_t j = 0; j < e.cols(); ++j) {
      e(i, j) = e(i, j) / scales[static_cast<std::size_t>(j)] - reader.w(i, j);
    }
  }
  return energy(e.view(), problem.h);
}

double error_over_sample(const ScaleProblem& problem, const ScaleReader& reader, const MatrixF& x,
                         std::span<const float> scales) {
  const MatrixF w = rounded_weights(reader, problem.h, scales);
  MatrixF y(x.rows(), w.rows());
  gemm(Trans::kNo, Trans::kYes, 1.0F, problem.sample, reader.w, 0.0F, y.view());
  gemm(Trans::kNo, Trans::kYes, -1.0F, x.view(), w.view(), 1.0F, y.view());
  double sum = 0;
  for (int64_t i = 0; i < y.size(); ++i) sum += std::pow(static_cast<double>(y.data()[i]), 2);
  return sum;
}

}  // namespace

std::vector<float> ScaleProblem::max_weights() const {
  std::vector<float> largest(static_cast<std::size_t>(n()));
  for (const ScaleReader& reader : readers) {
    for (int64_t i = 0; i < reader.w.rows; ++i) {
      for (int64_t j = 0; j < reader.w.cols; ++j) {
        float& most = largest[static_cast<std::size_t>(j)];
        most = std::max(most, std::fabs(reader.w(i, j)));
      }
    }
  }
  return largest;
}

double scaled_error(const ScaleProblem& problem, std::span<const float> scales) {
  double sum = 0;
  MatrixF x;
  if (problem.activations.bits > 0) {
    x = MatrixF(problem.sample.rows, problem.sample.cols);
    for (int64_t t = 0; t < x.rows(); ++t) {
      for (int64_t j = 0; j < x.cols(); ++j) {
        x(t, j) = problem.sample(t, j) / scales[static_cast<std::size_t>(j)];
      }
      round_to_low_bits(problem.activations, x.row(t), x.cols());
    }
  }
  for (const ScaleReader& reader : problem.readers) {
    if (!reader.fit) continue;
    sum += x.empty() ? error_over_gram(problem, reader, scales)
                     : error_over_sample(problem, reader, x, scales);
  }
  return sum;
}

std::vector<float> best_scales(const ScaleProblem& problem,
                               const std::vector<std::vector<float>>& candidates,
                               ThreadPool& pool) {
  std::vector<double> errors(candidates.size());
  pool.for_each(static_cast<int64_t>(candidates.size()), [&](int64_t i, int) {
    const auto at = static_cast<std::size_t>(i);
    errors[at] = scaled_error(problem, candidates[at]);
  });
  const auto best = std::min_element(errors.begin(), errors.end());
  return candidates[static_cast<std::size_t>(best - errors.begin())];
}

std::vector<float> balanced_scales(std::span<const float> sizes, std::span<const float> weights,
                                   double alpha) {
  constexpr double kLargest = 1e4;
  std::vector<float> scales;
  double logs = 0;
  for (std::size_t j = 0; j < sizes.size(); ++j) {
    double s = 1;
    if (sizes[j] > 0 && weights[j] > 0) {
      s = std::pow(static_cast<double>(sizes[j]), alpha) /
          std::pow(static_cast<double>(weights[j]), 1 - alpha);
    }
    logs += std::log(s);
    scales.push_back(static_cast<float>(s));
  }
  // A common factor changes nothing but what types can hold.
  const double mean = std::exp(logs / static_cast<double>(sizes.size()));
  for (float& s : scales) s = static_cast<float>(std::clamp(s / mean, 1 / kLargest, kLargest));
  return scales;
}

void mark_scaled(const Model& model, WeightEdits& edits) {
  const auto same = [](View2<float>) { return Status(); };
  for (int block = 0; block < model.config().blocks; ++block) {
    for (const ScaleSite& site : scale_sites(model.architecture())) {
      edits.add(site.norm, block, same);
      edits.add(std::string(site.norm) + "_bias", block, same);
      for (const std::string_view reader : site.readers) {
        if (find_role(model.architecture(), reader)->is_kept) edits.add(reader, block, same);
      }
    }
  }
}

Status check_scalable(const Model& model) {
  if (!scale_sites(model.architecture()).empty()) return {};
  return unsupported(std::string(model.architecture().name) +
                     " has no norms that only linears read, and that could take the scales");
}

}  // namespace coldpress
