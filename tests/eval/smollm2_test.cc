// Perplexity of SmolLM2-135M-Instruct (Q4_1 GGUF) against other programs, on the first windows of
// WikiText-2. The model comes with `coldpress fetch smollm2-135m`.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "eval/perplexity.h"
#include "io/file.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;

fs::path cached_model() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const fs::path root = cache != nullptr ? fs::path(cache) : fs::path(home ? home : "") / ".cache";
  return root / "coldpress" / "models" / "smollm2-135m-instruct.gguf";
}

class SmolLm2 : public ::testing::Test {
 protected:
  void SetUp() override {
    const fs::path text = fs::path(COLDPRESS_SHARED_DATA) / "wikitext2-test.txt";
    for (const fs::path& needed : {cached_model(), text}) {
      if (!fs::exists(needed)) GTEST_SKIP() << needed << " is absent";
    }
    auto model = Model::open(cached_model());
    auto tokenizer = Tokenizer::open(cached_model());
    auto content = read_text_file(text);
    ASSERT_TRUE(model.ok() && tokenizer.ok() && content.ok());
    model_ = std::move(model).value();
    tokenizer_ = std::move(tokenizer).value();
    text_ = std::move(content).value();
  }
  EvalResult evaluate(EvalProtocol protocol, int64_t windows) {
    ThreadPool pool(2);
    const auto result =
        evaluate_perplexity(*model_, *tokenizer_, text_, {protocol, windows, {}}, pool);
    EXPECT_TRUE(result.ok()) << result.status().message();
    return result.ok() ? *result : EvalResult();
  }

  std::unique_ptr<Model> model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::string text_;
};

// A forward pass written out in numpy, fp32, over ids from the tokenizers library: 2.717788 nats on
// the first window. (Over 12 windows: 20.1136 by transformers, 20.1125 here.)
TEST_F(SmolLm2, Gptq2048MatchesNumpy) {
  const EvalResult r = evaluate(EvalProtocol::kGptq2048, 1);
  EXPECT_NEAR(r.mean_nll, 2.717788, 1e-4);
  EXPECT_EQ(r.scored_tokens, 2047);
  EXPECT_EQ(r.context, 2048);
}

// llama-perplexity of the pinned sources, -c 512, prints [2]21.5599. (Over 20 windows: 27.8072
// there, 27.8074 here.)
TEST_F(SmolLm2, LlamaCpp512MatchesLlamaPerplexity) {
  const EvalResult r = evaluate(EvalProtocol::kLlamaCpp512, 2);
  EXPECT_NEAR(r.perplexity, 21.5599, 0.005 * 21.5599);
  EXPECT_EQ(r.scored_tokens, 510);
  EXPECT_FALSE(r.bos);
}

}  // namespace
}  // namespace coldpress
