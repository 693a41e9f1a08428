#include <ggml.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"
#include "model/attention_graph.h"
#include "model/block_graph.h"
#include "model/expert_graph.h"
#include "model/feed_forward_graph.h"
#include "model/model.h"

namespace coldpress {
namespace {

constexpr int64_t kFixedNodes = 64;  // of a stage without attention: never reached

bool is_contiguous(View2<const float> v) { return v.rows <= 1 || v.stride == v.cols; }

ggml_tensor* normed(BlockGraph& b, const HeadWeights& head, View2<const float> residual) {
  const MatrixF* gain = head.find("output_norm");
  const MatrixF* bias = head.find("output_norm_bias");
  COLDPRESS_CHECK(gain != nullptr);
  return b.norm(b.leaf(residual), b.leaf(gain->view()),
                bias == nullptr ? nullptr : b.leaf(bias->view()));
}

}  // namespace

struct StageRunner::State {
  explicit State(const ModelConfig& config) : b(config), attention(b), experts(b) {}

  BlockGraph b;
  AttentionGraph attention;
  ExpertGraph experts;

  Status compute(const BlockWeights& weights, int block, int stage, View2<float> residual,
                 View2<const float> tap_in, View2<float> tap_out);
  // A tap's rows as its linears read them: experts' slots are rows of their own.
  View2<float> inputs(int block, int stage, View2<float> tap) const {
    if (tap.cols == 0) return tap;
    const bool slots = stage == 3 && b.config.has_experts(block);
    const int64_t width = slots ? b.config.ffn : tap.cols;
    return {tap.data, tap.rows * (tap.cols / width), width};
  }

  // Stage 2: the residual takes attention's output, and tap 2 is what the feed-forward reads.
  void after_attention(ggml_tensor* x, View2<float> residual, View2<float> tap) {
    ggml_tensor* before = b.leaf(residual);
    ggml_tensor* y = b.linear(x, "attn_o");
    if (!b.config.parallel_residual) {
      b.finish(b.norm(b.add_to(before, y, "attn_post_norm"), "ffn_norm"), tap);
      return;
    }
    // The tap first: the sum overwrites what it is made of. One norm may serve both branches.
    b.finish(b.norm(before, b.has("ffn_norm") ? "ffn_norm" : "attn_norm"), tap);
    b.graph.add(b.add_to(before, y, "attn_post_norm"));
  }
};

StageRunner::StageRunner(const ModelConfig& config) : state_(std::make_unique<State>(config)) {}
StageRunner::~StageRunner() = default;
StageRunner::StageRunner(StageRunner&&) noexcept = default;

Status StageRunner::embed(const HeadWeights& head, std::span<const int32_t> ids,
                          View2<float> residual) {
  BlockGraph& b = state_->b;
  const MatrixF* table = head.find("token_embd");
  const MatrixF* places = head.find("pos_embd");
  COLDPRESS_CHECK(table != nullptr && residual.cols == table->cols() &&
                  residual.rows == static_cast<int64_t>(ids.size()));
  const int64_t offset = b.config.position_offset;
  if (places != nullptr && residual.rows + offset > places->rows()) {
    return invalid_argument("a window of " + std::to_string(residual.rows) +
                            " tokens is longer than the model's " +
                            std::to_string(places->rows() - offset) + " positions");
  }
  const auto scale = static_cast<float>(b.config.embedding_scale);
  for (int64_t t = 0; t < residual.rows; ++t) {
    const int32_t id = ids[static_cast<std::size_t>(t)];
    if (id < 0 || id >= table->rows()) {
      return invalid_argument("token " + std::to_string(id) + " is outside the vocabulary of " +
                              std::to_string(table->rows()));
    }
    const float* from = table->row(id);
    float* to = residual.row(t);
    for (int64_t j = 0; j < residual.cols; ++j) to[j] = from[j] * scale;
    if (places == nullptr) continue;
    const float* place = places->row(t + offset);
    for (int64_t j = 0; j < residual.cols; ++j) to[j] += place[j];
  }
  const MatrixF* gain = head.find("token_embd_norm");
  if (gain == nullptr || residual.rows == 0) return {};
  const MatrixF* bias = head.find("token_embd_norm_bias");
  MatrixF sum(residual.rows, residual.cols);
  for (int64_t t = 0; t < residual.rows; ++t) {
    std::copy_n(residual.row(t), residual.cols, sum.row(t));
  }
  b.ctx = b.graph.begin(kFixedNodes);
  b.finish(b.norm(b.leaf(sum.view()), b.leaf(gain->view()),
                  bias == nullptr ? nullptr : b.leaf(bias->view())),
           residual);
  return b.graph.compute();
}

Status StageRunner::run(const BlockWeights& weights, int block, int stage, View2<float> residual,
                        View2<const float> tap_in, View2<float> tap_out) {
  COLDPRESS_RETURN_IF_ERROR(run_unrounded(weights, block, stage, residual, tap_in, tap_out));
  if (stage < 4) round_tap(block, stage, tap_out);
  return {};
}

Status StageRunner::run_unrounded(const BlockWeights& weights, int block, int stage,
                                  View2<float> residual, View2<const float> tap_in,
                                  View2<float> tap_out) {
  COLDPRESS_RETURN_IF_ERROR(state_->compute(weights, block, stage, residual, tap_in, tap_out));
  if (stage == 3) state_->b.online.rotate_mid(state_->inputs(block, stage, tap_out));
  return {};
}

void StageRunner::round_tap(int block, int stage, View2<float> tap) {
  state_->b.online.round_tap(state_->inputs(block, stage, tap));
}

Status StageRunner::State::compute(const BlockWeights& weights, int block, int stage,
                                   View2<float> residual, View2<const float> tap_in,
                                   View2<float> tap_out) {
  const int64_t tokens = residual.rows;
  COLDPRESS_CHECK(stage >= 0 && stage <= 4);
  COLDPRESS_CHECK(is_contiguous(residual) && is_contiguous(tap_in) && is_contiguous(tap_out));
  COLDPRESS_CHECK(residual.cols == b.config.hidden);
  COLDPRESS_CHECK(stage == 0 || tap_in.rows == tokens);
  COLDPRESS_CHECK(stage == 4 || tap_out.rows == tokens);
  if (tokens == 0) return {};
  b.weights = &weights;
  b.block = block;
  while (static_cast<int64_t>(b.positions.size()) < tokens) {
    b.positions.push_back(static_cast<int32_t>(b.positions.size()));
  }
  const bool has_experts = b.config.has_experts(block);
  if (has_experts && stage == 3) return experts.mid(tap_in, tap_out);
  if (has_experts && stage == 4) return experts.add_down(tap_in, residual);
  b.ctx = b.graph.begin(stage == 1 ? attention.nodes(tokens) : kFixedNodes);
  ggml_tensor* x = stage == 0 ? nullptr : b.leaf(tap_in);
  switch (stage) {
    case 0:
      b.finish(b.norm(b.leaf(residual), "attn_norm"), tap_out);
      break;
    case 1:
      attention.build(x, b.leaf(tap_out));
      break;
    case 2:
      after_attention(x, residual, tap_out);
      break;
    case 3:
      b.finish(feed_forward_mid(b, x), tap_out);
      break;
    case 4:
      b.graph.add(b.add_to(b.leaf(residual), b.linear(x, "ffn_down"), "ffn_post_norm"));
      break;
  }
  return b.graph.compute();
}

Status StageRunner::route(const BlockWeights& weights, int block, View2<const float> ffn_in,
                          Routes& routes) {
  state_->b.weights = &weights;
  state_->b.block = block;
  return state_->experts.route(ffn_in, routes);
}

Status StageRunner::final_norm(const HeadWeights& head, View2<const float> residual,
                               View2<float> out) {
  BlockGraph& b = state_->b;
  COLDPRESS_CHECK(is_contiguous(residual) && is_contiguous(out));
  COLDPRESS_CHECK(residual.rows == out.rows && residual.cols == out.cols);
  if (residual.rows == 0) return {};
  b.ctx = b.graph.begin(kFixedNodes);
  b.finish(normed(b, head, residual), out);
  return b.graph.compute();
}

Status StageRunner::logits(const HeadWeights& head, View2<const float> residual,
                           View2<float> logits) {
  BlockGraph& b = state_->b;
  const MatrixF* output = head.find("output");
  if (output == nullptr) output = head.find("token_embd");
  COLDPRESS_CHECK(output != nullptr);
  COLDPRESS_CHECK(is_contiguous(residual) && is_contiguous(logits));
  COLDPRESS_CHECK(residual.rows == logits.rows && logits.cols == output->rows());
  if (residual.rows == 0) return {};
  b.ctx = b.graph.begin(kFixedNodes);
  ggml_tensor* y = ggml_mul_mat(b.ctx, b.leaf(output->view()), normed(b, head, residual));
  b.graph.place(y, logits.data);
  if (b.config.logit_scale != 1.0) {
    y = ggml_scale_inplace(b.ctx, y, static_cast<float>(b.config.logit_scale));
  }
  if (b.config.logit_softcap != 0.0) {
    const auto cap = static_cast<float>(b.config.logit_softcap);
    y = ggml_scale_inplace(b.ctx, y, 1.0F / cap);
    y = ggml_scale_inplace(b.ctx, ggml_tanh_inplace(b.ctx, y), cap);
  }
  b.graph.add(y);
  return b.graph.compute();
}

}  // namespace coldpress
