// Whole forward passes for tests.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "io/safetensors.h"
#include "model/model.h"

namespace coldpress {

// In the place of stage 3: (tokens, width of tap 2) -> (tokens, width of tap 3).
using FeedForward =
    std::function<void(const BlockWeights& weights, View2<const float> in, View2<float> mid)>;

// Runs all blocks over one window in place.
inline Status run_blocks(const Model& model, StageRunner& runner, View2<float> residual,
                         const FeedForward& feed_forward = {}) {
  for (int block = 0; block < model.config().blocks; ++block) {
    COLDPRESS_ASSIGN_OR_RETURN(const BlockWeights weights, BlockWeights::load(model, block));
    const std::vector<Tap> taps = model.taps(block);
    MatrixF in;
    for (int stage = 0; stage <= 4; ++stage) {
      MatrixF out = stage == 4
                        ? MatrixF()
                        : MatrixF(residual.rows, taps[static_cast<std::size_t>(stage)].width);
      if (stage == 3 && feed_forward) {
        feed_forward(weights, in.view(), out.view());
      } else {
        COLDPRESS_RETURN_IF_ERROR(
            runner.run(weights, block, stage, residual, in.view(), out.view()));
      }
      in = std::move(out);
    }
  }
  return {};
}

inline Result<MatrixF> window_logits(const Model& model, StageRunner& runner,
                                     std::span<const int32_t> ids,
                                     const FeedForward& feed_forward = {}) {
  COLDPRESS_ASSIGN_OR_RETURN(const HeadWeights head, HeadWeights::load(model));
  MatrixF residual(static_cast<int64_t>(ids.size()), model.config().hidden);
  COLDPRESS_RETURN_IF_ERROR(runner.embed(head, ids, residual.view()));
  COLDPRESS_RETURN_IF_ERROR(run_blocks(model, runner, residual.view(), feed_forward));
  MatrixF logits(residual.rows(), model.config().vocab);
  COLDPRESS_RETURN_IF_ERROR(runner.logits(head, residual.view(), logits.view()));
  return logits;
}

struct GoldenFile {
  std::vector<std::vector<int32_t>> windows;
  std::vector<float> logits;  // windows x tokens x vocab
};

inline GoldenFile read_golden(const std::filesystem::path& path) {
  GoldenFile golden;
  const auto file = SafetensorsFile::open(path);
  EXPECT_TRUE(file.ok());
  if (!file.ok()) return golden;
  const SafetensorsInfo* ids = file->find("input_ids");
  const SafetensorsInfo* logits = file->find("logits");
  EXPECT_TRUE(ids != nullptr && ids->dtype == DType::kI32 && logits != nullptr);
  if (ids == nullptr || logits == nullptr) return golden;
  for (int64_t w = 0; w < ids->shape[0]; ++w) {
    std::vector<int32_t> window;
    for (int64_t t = 0; t < ids->shape[1]; ++t) {
      int32_t id = 0;
      std::memcpy(&id, ids->data.data() + (w * ids->shape[1] + t) * 4, 4);
      window.push_back(id);
    }
    golden.windows.push_back(std::move(window));
  }
  golden.logits.resize(logits->data.size() / 4);
  EXPECT_TRUE(decode_to_f32(logits->dtype, logits->data, golden.logits));
  return golden;
}

// The configuration as the golden logits saw it. They were computed after casting the whole module
// to the checkpoint's type and back to fp32, which rounds what transformers otherwise keeps in
// fp32: the rotary frequencies and Gemma's embedding scale. coldpress computes both exactly, as
// transformers does when it loads a checkpoint; only this comparison takes the rounded ones.
inline ModelConfig golden_config(const Model& model, DType stored) {
  ModelConfig config = model.config();
  const auto rounded = [stored](double value) {
    float v[1] = {static_cast<float>(value)};
    round_to_dtype(stored, v);
    return static_cast<double>(v[0]);
  };
  for (RopeConfig& rope : config.rope) {
    const auto pairs = static_cast<std::size_t>(rope.dims / 2);
    rope.factors.resize(pairs, 1.0F);
    for (std::size_t i = 0; i < pairs; ++i) {
      const double plain =
          std::pow(rope.theta, -2.0 * static_cast<double>(i) / static_cast<double>(rope.dims));
      rope.factors[i] = static_cast<float>(plain / rounded(plain / rope.factors[i]));
    }
  }
  config.embedding_scale = rounded(config.embedding_scale);
  return config;
}

// Every logit within 1e-3 of the golden logits' standard deviation: the bound of the task, where
// two fp32 evaluations in different order differ by about 1e-5. `stored`: the checkpoint's type.
inline void expect_golden(const Model& model, DType stored, const std::filesystem::path& path) {
  const GoldenFile golden = read_golden(path);
  ASSERT_FALSE(golden.windows.empty());
  double sum = 0;
  double squares = 0;
  for (const float v : golden.logits) {
    sum += v;
    squares += static_cast<double>(v) * v;
  }
  const auto n = static_cast<double>(golden.logits.size());
  const double deviation = std::sqrt(squares / n - sum / n * sum / n);
  StageRunner runner(golden_config(model, stored));
  double worst = 0;
  const float* expected = golden.logits.data();
  for (const auto& window : golden.windows) {
    const auto logits = window_logits(model, runner, window);
    ASSERT_TRUE(logits.ok()) << logits.status().message();
    for (int64_t i = 0; i < logits->size(); ++i) {
      ASSERT_TRUE(std::isfinite(logits->data()[i]));
      worst = std::max(worst, std::abs(static_cast<double>(logits->data()[i]) - *expected++));
    }
  }
  EXPECT_LE(worst, 1e-3 * deviation);
  ::testing::Test::RecordProperty("error_over_deviation", std::to_string(worst / deviation));
}

}  // namespace coldpress
