#include "model/expert_graph.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/check.h"
#include "model/feed_forward_graph.h"

namespace coldpress {
namespace {

constexpr int64_t kNodes = 64;  // of one expert: never reached

void copy_row(const float* from, int64_t count, float* to) {
  std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(float));
}

// The `used` best of one token's logits; of equals, the first.
void best_experts(const float* logits, int64_t experts, bool normalise, int32_t* best,
                  float* weights, int64_t used) {
  std::vector<int32_t> order(static_cast<std::size_t>(experts));
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + used, order.end(), [&](int32_t a, int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  const double largest = logits[order.front()];
  double total = 0;
  double total_used = 0;
  for (int64_t e = 0; e < experts; ++e) total += std::exp(logits[e] - largest);
  for (int64_t s = 0; s < used; ++s) {
    best[s] = order[static_cast<std::size_t>(s)];
    total_used += std::exp(logits[best[s]] - largest);
  }
  for (int64_t s = 0; s < used; ++s) {
    weights[s] =
        static_cast<float>(std::exp(logits[best[s]] - largest) / (normalise ? total_used : total));
  }
}

}  // namespace

Status ExpertGraph::route(View2<const float> x, Routes& routes) {
  MatrixF logits(x.rows, b_.config.experts);
  b_.ctx = b_.graph.begin(kNodes);
  b_.finish(b_.linear(b_.leaf(x), "ffn_router"), logits.view());
  COLDPRESS_RETURN_IF_ERROR(b_.graph.compute());
  routes.used = b_.config.experts_used;
  routes.experts.resize(static_cast<std::size_t>(x.rows * routes.used));
  routes.weights.resize(routes.experts.size());
  for (int64_t t = 0; t < x.rows; ++t) {
    best_experts(logits.row(t), logits.cols(), b_.config.normalise_routes,
                 routes.experts.data() + t * routes.used, routes.weights.data() + t * routes.used,
                 routes.used);
  }
  return {};
}

std::vector<int64_t> ExpertGraph::rows_of(const Routes& routes, int32_t expert) {
  std::vector<int64_t> rows;
  for (std::size_t i = 0; i < routes.experts.size(); ++i) {
    if (routes.experts[i] == expert) rows.push_back(static_cast<int64_t>(i));
  }
  return rows;
}

// `rows` rows from row0 of the expert's own matrix on; a role's matrix is (experts * out, in).
ggml_tensor* ExpertGraph::weight_of(const char* role, int64_t expert, int64_t row0, int64_t rows) {
  const View2<const float> all = b_.weights->linear(role);
  const int64_t out = all.rows / b_.config.experts;
  return b_.leaf(all.row_range(expert * out + row0, rows));
}

// in (n, hidden) -> out (n, ffn).
Status ExpertGraph::expert_mid(int64_t expert, const MatrixF& in, MatrixF& out) {
  const int64_t ffn = b_.config.ffn;
  const bool fused = b_.has("ffn_gate_up_exps");
  b_.ctx = b_.graph.begin(kNodes);
  ggml_tensor* gate = weight_of(fused ? "ffn_gate_up_exps" : "ffn_gate_exps", expert, 0, ffn);
  ggml_tensor* up =
      weight_of(fused ? "ffn_gate_up_exps" : "ffn_up_exps", expert, fused ? ffn : 0, ffn);
  ggml_tensor* x = b_.leaf(in.view());
  out = MatrixF(in.rows(), ffn);
  b_.finish(gated(b_, ggml_mul_mat(b_.ctx, gate, x), ggml_mul_mat(b_.ctx, up, x)), out.view());
  return b_.graph.compute();
}

Status ExpertGraph::mid(View2<const float> x, View2<float> mid) {
  Routes routes;
  COLDPRESS_RETURN_IF_ERROR(route(x, routes));
  const int64_t ffn = b_.config.ffn;
  MatrixF out;
  for (int32_t e = 0; e < b_.config.experts; ++e) {
    const std::vector<int64_t> rows = rows_of(routes, e);
    if (rows.empty()) continue;
    MatrixF in(static_cast<int64_t>(rows.size()), x.cols);
    for (int64_t i = 0; i < in.rows(); ++i) {
      copy_row(x.row(rows[static_cast<std::size_t>(i)] / routes.used), x.cols, in.row(i));
    }
    COLDPRESS_RETURN_IF_ERROR(expert_mid(e, in, out));
    for (int64_t i = 0; i < out.rows(); ++i) {
      const int64_t row = rows[static_cast<std::size_t>(i)];
      copy_row(out.row(i), ffn, mid.row(row / routes.used) + row % routes.used * ffn);
    }
  }
  return {};
}

Status ExpertGraph::add_down(View2<const float> mid, View2<float> residual) {
  COLDPRESS_CHECK(!b_.config.parallel_residual);
  MatrixF x(residual.rows, residual.cols);
  b_.ctx = b_.graph.begin(kNodes);
  b_.finish(b_.norm(b_.leaf(residual), "ffn_norm"), x.view());
  COLDPRESS_RETURN_IF_ERROR(b_.graph.compute());
  b_.online.round_tap(x.view());  // what the router has seen before
  Routes routes;
  COLDPRESS_RETURN_IF_ERROR(route(x.view(), routes));
  const int64_t ffn = b_.config.ffn;
  MatrixF& sum = x;
  std::fill_n(sum.data(), sum.size(), 0.0F);
  for (int32_t e = 0; e < b_.config.experts; ++e) {
    const std::vector<int64_t> rows = rows_of(routes, e);
    if (rows.empty()) continue;
    MatrixF in(static_cast<int64_t>(rows.size()), ffn);
    MatrixF out(in.rows(), residual.cols);
    for (int64_t i = 0; i < in.rows(); ++i) {
      const int64_t row = rows[static_cast<std::size_t>(i)];
      copy_row(mid.row(row / routes.used) + row % routes.used * ffn, ffn, in.row(i));
    }
    b_.ctx = b_.graph.begin(kNodes);
    b_.finish(
        ggml_mul_mat(b_.ctx, weight_of("ffn_down_exps", e, 0, residual.cols), b_.leaf(in.view())),
        out.view());
    COLDPRESS_RETURN_IF_ERROR(b_.graph.compute());
    for (int64_t i = 0; i < in.rows(); ++i) {
      const int64_t row = rows[static_cast<std::size_t>(i)];
      const float weight = routes.weights[static_cast<std::size_t>(row)];
      float* to = sum.row(row / routes.used);
      for (int64_t j = 0; j < residual.cols; ++j) to[j] += weight * out(i, j);
    }
  }
  b_.ctx = b_.graph.begin(kNodes);
  b_.graph.add(b_.add_to(b_.leaf(residual), b_.leaf(sum.view()), "ffn_post_norm"));
  return b_.graph.compute();
}

}  // namespace coldpress
