// Writing a model with its own values and comparing what it computes then, here and in llama.cpp.
#pragma once

#include <gtest/gtest.h>
#include <llama.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "base/rng.h"
#include "export/export.h"
#include "tests/export/tiny_models.h"
#include "tests/model/forward.h"

namespace coldpress::test {

inline const ExportManifest kManifest = {"{\"all\": 1}", "{\"some\": 1}"};

inline void add_tokenizer(const std::filesystem::path& folder, const Json& tokenizer,
                          const std::string& eos = "<|endoftext|>") {
  spill(folder / "tokenizer.json", tokenizer.dump());
  spill(folder / "tokenizer_config.json", Json{{"eos_token", eos}}.dump());
}

// Writes `model` with its own values in the place of solutions, rounded to `type`.
inline Status rewrite(const Model& model, const std::filesystem::path& out, DType type) {
  const auto names = names_of(made_up_solutions(model, type));
  COLDPRESS_ASSIGN_OR_RETURN(const auto sink, open_export({model, out, type, names, "1"}));
  for (const std::string& name : names) {
    COLDPRESS_ASSIGN_OR_RETURN(MatrixF values, model.load(name));
    round_to_dtype(type, {values.data(), static_cast<std::size_t>(values.size())});
    COLDPRESS_RETURN_IF_ERROR(sink->put(name, {values.view(), {}}));
  }
  return sink->finish(kManifest);
}

inline std::vector<int32_t> some_ids(int64_t vocab) {
  std::vector<int32_t> ids(24);
  Rng rng(11);
  for (int32_t& id : ids) id = static_cast<int32_t>(rng.below(static_cast<uint64_t>(vocab)));
  return ids;
}

inline MatrixF our_logits(const Model& model, const ModelConfig& config) {
  StageRunner runner(config);
  auto logits = window_logits(model, runner, some_ids(model.config().vocab));
  EXPECT_TRUE(logits.ok()) << logits.status().message();
  return logits.ok() ? std::move(logits).value() : MatrixF();
}

inline MatrixF our_logits(const Model& model) { return our_logits(model, model.config()); }

// The largest difference over the standard deviation of `a`.
inline double difference(const MatrixF& a, const MatrixF& b) {
  if (a.rows() != b.rows() || a.cols() != b.cols() || a.empty()) return INFINITY;
  double square = 0;
  double largest = 0;
  for (int64_t i = 0; i < a.size(); ++i) {
    square += static_cast<double>(a.data()[i]) * a.data()[i];
    largest = std::max(largest, std::fabs(static_cast<double>(a.data()[i]) - b.data()[i]));
  }
  return largest / std::sqrt(square / static_cast<double>(a.size()));
}

// The same logits from llama.cpp, in fp32 throughout.
inline MatrixF llama_logits(const std::filesystem::path& gguf) {
  llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
  llama_model_params model_params = llama_model_default_params();
  model_params.n_gpu_layers = 0;
  llama_model* model = llama_model_load_from_file(gguf.c_str(), model_params);
  if (model == nullptr) return {};
  const int vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
  std::vector<int32_t> ids = some_ids(vocab);
  llama_context_params params = llama_context_default_params();
  params.n_ctx = 64;
  params.n_batch = 64;
  params.n_ubatch = 64;
  params.n_threads = 1;
  params.n_threads_batch = 1;
  params.type_k = GGML_TYPE_F32;
  params.type_v = GGML_TYPE_F32;
  params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
  llama_context* context = llama_init_from_model(model, params);
  MatrixF out(static_cast<int64_t>(ids.size()), vocab);
  llama_batch batch = llama_batch_init(static_cast<int>(ids.size()), 0, 1);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    batch.token[i] = ids[i];
    batch.pos[i] = static_cast<int>(i);
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = 0;
    batch.logits[i] = 1;
  }
  batch.n_tokens = static_cast<int>(ids.size());
  EXPECT_EQ(llama_decode(context, batch), 0);
  for (int64_t i = 0; i < out.rows(); ++i) {
    std::memcpy(out.row(i), llama_get_logits_ith(context, static_cast<int>(i)),
                static_cast<std::size_t>(vocab) * sizeof(float));
  }
  llama_batch_free(batch);
  llama_free(context);
  llama_model_free(model);
  return out;
}

// fp32 sums in different orders over a few blocks.
inline constexpr double kSameFunction = 1e-4;
// llama.cpp reads GELU from a table in fp16.
inline constexpr double kGeluTable = 2e-3;
// The tanh form of GELU against the exact one.
inline constexpr double kGeluForm = 4e-3;

}  // namespace coldpress::test
