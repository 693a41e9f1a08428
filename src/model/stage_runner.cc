#include <ggml.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>
#include <tuple>
#include <utility>

#include "base/check.h"
#include "model/graph.h"
#include "model/model.h"

namespace coldpress {
namespace {

// Queries that are multiplied with keys at once. A chunk meets the keys up to its own end only,
// which saves half of a long window's products, and its scores stay in the cache.
constexpr int64_t kQueryChunk = 128;

constexpr int64_t kFixedNodes = 64;       // of a stage, attention aside: never reached
constexpr int64_t kNodesPerProduct = 20;  // of one chunk of queries and one key head

bool is_contiguous(View2<const float> v) { return v.rows <= 1 || v.stride == v.cols; }

}  // namespace

// Notation in the graphs: shapes are ggml's, fastest first. T tokens, D head_dim, H heads, K key
// heads, G = H / K queries per key head.
struct StageRunner::State {
  explicit State(const ModelConfig& c) : config(c) {}

  ModelConfig config;
  Graph graph;
  ggml_context* ctx = nullptr;
  const BlockWeights* weights = nullptr;
  int block = 0;
  std::vector<int32_t> positions;  // 0, 1, 2, ...
  // Additive masks of windowed attention, by (first query - first key, keys, queries, window).
  std::map<std::tuple<int64_t, int64_t, int64_t, int64_t>, std::vector<float>> masks;

  int64_t window() const {
    return config.sliding_window.empty() ? 0
                                         : config.sliding_window[static_cast<std::size_t>(block)];
  }
  const RopeConfig& rope() const {
    return config.rope.size() == 1 ? config.rope.front()
                                   : config.rope[static_cast<std::size_t>(block)];
  }

  ggml_tensor* leaf(View2<const float> v) { return graph.leaf(v.data, v.cols, v.rows); }
  // nullptr if the block has no such tensor.
  ggml_tensor* weight(const char* role) {
    const MatrixF* value = weights->find(role);
    return value == nullptr ? nullptr : leaf(value->view());
  }
  ggml_tensor* required(const char* role) {
    ggml_tensor* tensor = weight(role);
    COLDPRESS_CHECK(tensor != nullptr);
    return tensor;
  }
  ggml_tensor* linear(ggml_tensor* x, const char* role, const char* bias_role) {
    ggml_tensor* y = ggml_mul_mat(ctx, required(role), x);
    ggml_tensor* bias = weight(bias_role);
    return bias == nullptr ? y : ggml_add_inplace(ctx, y, bias);
  }
  ggml_tensor* norm(ggml_tensor* x, ggml_tensor* gain) {
    return ggml_mul(ctx, ggml_rms_norm(ctx, x, static_cast<float>(config.norm_eps)), gain);
  }
  void finish(ggml_tensor* node, View2<float> out) {
    graph.place(node, out.data);
    graph.add(node);
  }

  // Adds y to the residual in place, through the post norm where the block has one.
  ggml_tensor* add_to(ggml_tensor* residual, ggml_tensor* y, const char* post_norm) {
    if (ggml_tensor* gain = weight(post_norm)) y = norm(y, gain);
    return ggml_add_inplace(ctx, residual, y);
  }
  ggml_tensor* rotated_heads(ggml_tensor* x, int64_t heads, const char* norm_role);
  ggml_tensor* soft_max(ggml_tensor* scores, int64_t past, int64_t keys, int64_t queries);
  void attention(ggml_tensor* x, ggml_tensor* out);
  ggml_tensor* activation(ggml_tensor* gate, ggml_tensor* up);
  ggml_tensor* mask(int64_t past, int64_t keys, int64_t queries);
};

// (H * D, T) -> (D, H, T), normed per head where the model does so, and rotated.
ggml_tensor* StageRunner::State::rotated_heads(ggml_tensor* x, int64_t heads,
                                               const char* norm_role) {
  const int64_t tokens = x->ne[1];
  x = ggml_reshape_3d(ctx, x, config.head_dim, heads, tokens);
  if (ggml_tensor* gain = weight(norm_role)) x = norm(x, gain);
  const RopeConfig& r = rope();
  ggml_tensor* factors = r.factors.empty()
                             ? nullptr
                             : graph.leaf(r.factors.data(), static_cast<int64_t>(r.factors.size()));
  return ggml_rope_ext(ctx, x, graph.leaf(positions.data(), tokens), factors,
                       static_cast<int>(config.head_dim),
                       r.interleaved ? GGML_ROPE_TYPE_NORMAL : GGML_ROPE_TYPE_NEOX, 0,
                       static_cast<float>(r.theta), 1.0F, 0.0F, 1.0F, 0.0F, 0.0F);
}

// Query i (at position past + i of the keys given) sees key j if j <= past + i and, with a window,
// past + i - j < window.
ggml_tensor* StageRunner::State::mask(int64_t past, int64_t keys, int64_t queries) {
  std::vector<float>& values = masks[{past, keys, queries, window()}];
  if (values.empty()) {
    values.resize(static_cast<std::size_t>(keys * queries));
    for (int64_t i = 0; i < queries; ++i) {
      for (int64_t j = 0; j < keys; ++j) {
        const int64_t distance = past + i - j;
        const bool visible = distance >= 0 && distance < window();
        values[static_cast<std::size_t>(i * keys + j)] = visible ? 0.0F : -INFINITY;
      }
    }
  }
  return graph.leaf(values.data(), keys, queries);
}

// scores (keys, queries, G) -> probabilities.
ggml_tensor* StageRunner::State::soft_max(ggml_tensor* scores, int64_t past, int64_t keys,
                                          int64_t queries) {
  auto scale = static_cast<float>(config.attention_scale);
  if (config.attention_softcap != 0.0) {
    const auto cap = static_cast<float>(config.attention_softcap);
    scores = ggml_scale_inplace(ctx, scores, scale / cap);
    scores = ggml_scale_inplace(ctx, ggml_tanh_inplace(ctx, scores), cap);
    scale = 1.0F;
  }
  const bool windowed = window() > 0 && past + queries > window();
  if (windowed) return ggml_soft_max_ext(ctx, scores, mask(past, keys, queries), scale, 0.0F);
  // Touches only the triangle, where a mask would be read whole.
  scores = ggml_diag_mask_inf_inplace(ctx, scores, static_cast<int>(past));
  return ggml_soft_max_ext(ctx, scores, nullptr, scale, 0.0F);
}

// x (hidden, T) -> out (H * D, T), a leaf.
void StageRunner::State::attention(ggml_tensor* x, ggml_tensor* out) {
  const int64_t tokens = x->ne[1];
  const int64_t dim = config.head_dim;
  const int64_t kv_heads = config.kv_heads;
  const int64_t group = config.heads / kv_heads;
  const std::size_t head_bytes = static_cast<std::size_t>(dim) * sizeof(float);

  ggml_tensor* q = rotated_heads(linear(x, "attn_q", "attn_q_bias"), config.heads, "attn_q_norm");
  ggml_tensor* k = rotated_heads(linear(x, "attn_k", "attn_k_bias"), kv_heads, "attn_k_norm");
  ggml_tensor* v = ggml_reshape_3d(ctx, linear(x, "attn_v", "attn_v_bias"), dim, kv_heads, tokens);
  // (D, T, K): what one head needs is one contiguous matrix, as BLAS wants it.
  k = ggml_cont(ctx, ggml_permute(ctx, k, 0, 2, 1, 3));
  v = ggml_cont(ctx, ggml_permute(ctx, v, 0, 2, 1, 3));
  graph.add(q);
  graph.add(k);
  graph.add(v);

  for (int64_t first = 0; first < tokens; first += kQueryChunk) {
    const int64_t queries = std::min(kQueryChunk, tokens - first);
    const int64_t end = first + queries;
    const int64_t first_key = window() > 0 ? std::max<int64_t>(0, first - window() + 1) : 0;
    const int64_t keys = end - first_key;
    for (int64_t head = 0; head < kv_heads; ++head) {
      const auto at = [&](const ggml_tensor* t) {
        return static_cast<std::size_t>(head) * t->nb[2] +
               static_cast<std::size_t>(first_key) * t->nb[1];
      };
      // The group's queries, one below the other: (D, queries * G).
      ggml_tensor* q_head = ggml_view_3d(ctx, q, dim, queries, group, q->nb[2], q->nb[1],
                                         static_cast<std::size_t>(head * group) * q->nb[1] +
                                             static_cast<std::size_t>(first) * q->nb[2]);
      q_head = ggml_reshape_2d(ctx, ggml_cont(ctx, q_head), dim, queries * group);
      ggml_tensor* k_head = ggml_view_2d(ctx, k, dim, keys, k->nb[1], at(k));
      ggml_tensor* v_head = ggml_view_2d(ctx, v, dim, keys, v->nb[1], at(v));

      ggml_tensor* scores = ggml_mul_mat(ctx, k_head, q_head);  // (keys, queries * G)
      scores = ggml_reshape_3d(ctx, scores, keys, queries, group);
      ggml_tensor* p = soft_max(scores, first - first_key, keys, queries);
      p = ggml_reshape_2d(ctx, p, keys, queries * group);
      // (D, queries * G): sum over keys of v p, without a transposed copy of v.
      ggml_tensor* y = ggml_out_prod(ctx, v_head, ggml_transpose(ctx, p));
      y = ggml_reshape_3d(ctx, y, dim, queries, group);
      ggml_tensor* target = ggml_view_3d(ctx, out, dim, queries, group, out->nb[1], head_bytes,
                                         static_cast<std::size_t>(first) * out->nb[1] +
                                             static_cast<std::size_t>(head * group) * head_bytes);
      graph.add(ggml_cpy(ctx, y, target));
    }
  }
}

ggml_tensor* StageRunner::State::activation(ggml_tensor* gate, ggml_tensor* up) {
  switch (config.activation) {
    case Activation::kSilu:
      return ggml_swiglu_split(ctx, gate, up);
    case Activation::kGelu:
      return ggml_geglu_erf_split(ctx, gate, up);
    case Activation::kGeluTanh: {
      // ggml's own goes through a table of fp16 values. In fp32, with s = 2c (1 + a x^2) and
      // c = sqrt(2 / pi): gelu(x) = x sigmoid(x s) = silu(x s) / s.
      constexpr float kC2 = 2.0F * 0.7978845608028654F;
      constexpr float kA = 0.044715F;
      ggml_tensor* s = ggml_scale_bias(ctx, ggml_sqr(ctx, gate), kC2 * kA, kC2);
      return ggml_swiglu_split(ctx, ggml_mul(ctx, gate, s), ggml_div(ctx, up, s));
    }
  }
  COLDPRESS_CHECK(false);
}

StageRunner::StageRunner(const ModelConfig& config) : state_(std::make_unique<State>(config)) {}
StageRunner::~StageRunner() = default;
StageRunner::StageRunner(StageRunner&&) noexcept = default;

Status StageRunner::embed(const HeadWeights& head, std::span<const int32_t> ids,
                          View2<float> residual) {
  const MatrixF* table = head.find("token_embd");
  COLDPRESS_CHECK(table != nullptr && residual.cols == table->cols() &&
                  residual.rows == static_cast<int64_t>(ids.size()));
  const auto scale = static_cast<float>(state_->config.embedding_scale);
  for (int64_t t = 0; t < residual.rows; ++t) {
    const int32_t id = ids[static_cast<std::size_t>(t)];
    if (id < 0 || id >= table->rows()) {
      return invalid_argument("token " + std::to_string(id) + " is outside the vocabulary of " +
                              std::to_string(table->rows()));
    }
    const float* from = table->row(id);
    float* to = residual.row(t);
    for (int64_t j = 0; j < residual.cols; ++j) to[j] = from[j] * scale;
  }
  return {};
}

Status StageRunner::run(const BlockWeights& weights, int block, int stage, View2<float> residual,
                        View2<const float> tap_in, View2<float> tap_out) {
  State& s = *state_;
  const int64_t tokens = residual.rows;
  COLDPRESS_CHECK(stage >= 0 && stage <= 4);
  COLDPRESS_CHECK(is_contiguous(residual) && is_contiguous(tap_in) && is_contiguous(tap_out));
  COLDPRESS_CHECK(residual.cols == s.config.hidden);
  COLDPRESS_CHECK(stage == 0 || tap_in.rows == tokens);
  COLDPRESS_CHECK(stage == 4 || tap_out.rows == tokens);
  if (tokens == 0) return {};
  s.weights = &weights;
  s.block = block;
  while (static_cast<int64_t>(s.positions.size()) < tokens) {
    s.positions.push_back(static_cast<int32_t>(s.positions.size()));
  }
  const int64_t chunks = stage == 1 ? (tokens + kQueryChunk - 1) / kQueryChunk : 0;
  s.ctx = s.graph.begin(kFixedNodes + kNodesPerProduct * chunks * s.config.kv_heads);
  ggml_tensor* x = stage == 0 ? nullptr : s.leaf(tap_in);
  switch (stage) {
    case 0:
      s.finish(s.norm(s.leaf(residual), s.required("attn_norm")), tap_out);
      break;
    case 1:
      s.attention(x, s.leaf(tap_out));
      break;
    case 2: {
      ggml_tensor* y = s.linear(x, "attn_o", "attn_o_bias");
      ggml_tensor* sum = s.add_to(s.leaf(residual), y, "attn_post_norm");
      s.finish(s.norm(sum, s.required("ffn_norm")), tap_out);
      break;
    }
    case 3: {
      ggml_tensor* gate = s.linear(x, "ffn_gate", "ffn_gate_bias");
      ggml_tensor* up = s.linear(x, "ffn_up", "ffn_up_bias");
      s.finish(s.activation(gate, up), tap_out);
      break;
    }
    case 4: {
      ggml_tensor* y = s.linear(x, "ffn_down", "ffn_down_bias");
      s.graph.add(s.add_to(s.leaf(residual), y, "ffn_post_norm"));
      break;
    }
  }
  return s.graph.compute();
}

Status StageRunner::logits(const HeadWeights& head, View2<const float> residual,
                           View2<float> logits) {
  State& s = *state_;
  const MatrixF* gain = head.find("output_norm");
  const MatrixF* output = head.find("output");
  if (output == nullptr) output = head.find("token_embd");
  COLDPRESS_CHECK(gain != nullptr && output != nullptr);
  COLDPRESS_CHECK(is_contiguous(residual) && is_contiguous(logits));
  COLDPRESS_CHECK(residual.rows == logits.rows && logits.cols == output->rows());
  if (residual.rows == 0) return {};
  s.ctx = s.graph.begin(kFixedNodes);
  ggml_tensor* y = s.norm(s.leaf(residual), s.leaf(gain->view()));
  y = ggml_mul_mat(s.ctx, s.leaf(output->view()), y);
  s.graph.place(y, logits.data);
  if (s.config.logit_softcap != 0.0) {
    const auto cap = static_cast<float>(s.config.logit_softcap);
    y = ggml_scale_inplace(s.ctx, y, 1.0F / cap);
    y = ggml_scale_inplace(s.ctx, ggml_tanh_inplace(s.ctx, y), cap);
  }
  s.graph.add(y);
  return s.graph.compute();
}

}  // namespace coldpress
