// Importance matrices of the tiny models against sums written out here, and Grams made of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "calibration/imatrix_collector.h"
#include "calibration/imatrix_grams.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class ImatrixOf : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const fs::path folder = fs::path(COLDPRESS_SHARED_DATA) / "tiny" / GetParam();
    if (!fs::exists(folder)) GTEST_SKIP() << folder << " is absent";
    auto opened = Model::open(folder);
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    model_ = std::move(opened).value();
    windows_.length = 32;
    windows_.sources = {{"made up", "tokens", "", 1, 20}};
    Rng rng(5);
    for (int64_t i = 0; i < 20 * windows_.length; ++i) {
      windows_.tokens.push_back(
          static_cast<int32_t>(rng.below(static_cast<uint64_t>(model_->config().vocab))));
    }
  }
  Imatrix collect(int threads = 2) {
    ThreadPool pool(threads);
    const auto imatrix = collect_imatrix(*model_, windows_, {}, pool);
    EXPECT_TRUE(imatrix.ok()) << imatrix.status().message();
    return imatrix.ok() ? *imatrix : Imatrix();
  }

  std::unique_ptr<Model> model_;
  CalibrationWindows windows_;
};

// Windows one by one through a runner of their own; sums in fp64.
TEST_P(ImatrixOf, HasTheSumsOfSquares) {
  const Imatrix imatrix = collect();
  const ModelConfig& c = model_->config();
  StageRunner runner(c);
  std::map<std::string, std::vector<double>> sums;
  std::map<std::string, std::vector<int64_t>> counts;
  for (int64_t w = 0; w < windows_.count(); ++w) {
    const auto head = HeadWeights::load(*model_);
    ASSERT_TRUE(head.ok());
    MatrixF residual(windows_.length, c.hidden);
    ASSERT_TRUE(runner.embed(*head, windows_.window(w), residual.view()).ok());
    for (int block = 0; block < c.blocks; ++block) {
      const auto weights = BlockWeights::load(*model_, block);
      ASSERT_TRUE(weights.ok());
      const std::vector<Tap> taps = model_->taps(block);
      MatrixF in;
      Routes routes;
      for (std::size_t stage = 0; stage <= taps.size(); ++stage) {
        MatrixF out =
            stage == taps.size() ? MatrixF() : MatrixF(windows_.length, taps[stage].width);
        ASSERT_TRUE(runner
                        .run(*weights, block, static_cast<int>(stage), residual.view(), in.view(),
                             out.view())
                        .ok());
        if (stage == taps.size()) break;
        const Tap& tap = taps[stage];
        if (tap.by_expert && stage == 2) {
          ASSERT_TRUE(runner.route(*weights, block, out.view(), routes).ok());
        }
        const int64_t columns = tap.width / tap.slots();
        const int64_t matrices = tap.by_expert ? c.experts : 1;
        const std::string name = *gguf_tensor_name(*model_, tap.linears.front().role, block);
        sums[name].resize(static_cast<std::size_t>(matrices * columns));
        counts[name].resize(static_cast<std::size_t>(matrices));
        const int64_t uses = tap.by_expert ? routes.used : 1;
        for (int64_t i = 0; i < windows_.length * uses; ++i) {
          const int64_t slot = tap.slots() == 1 ? 0 : i % uses;
          const int64_t expert = tap.by_expert ? routes.experts[static_cast<std::size_t>(i)] : 0;
          const float* row = out.row(i / uses) + slot * columns;
          for (int64_t j = 0; j < columns; ++j) {
            sums[name][static_cast<std::size_t>(expert * columns + j)] +=
                static_cast<double>(row[j]) * row[j];
          }
          ++counts[name][static_cast<std::size_t>(expert)];
        }
        in = std::move(out);
      }
    }
  }
  EXPECT_EQ(imatrix.chunks, 20);
  EXPECT_EQ(imatrix.chunk_size, 32);
  EXPECT_EQ(sums.size(), static_cast<std::size_t>(4 * c.blocks));
  for (const auto& [name, expected] : sums) {
    const ImatrixEntry* entry = imatrix.find(name);
    ASSERT_NE(entry, nullptr) << name;
    EXPECT_EQ(entry->counts, counts[name]) << name;
    ASSERT_EQ(entry->sums.size(), expected.size()) << name;
    for (std::size_t j = 0; j < expected.size(); ++j) {
      EXPECT_NEAR(entry->sums[j], expected[j], 1e-5 * expected[j] + 1e-12) << name << " " << j;
    }
  }
}

TEST_P(ImatrixOf, NamesEveryMatrixOfTheBlocks) {
  const Imatrix imatrix = collect();
  for (int block = 0; block < model_->config().blocks; ++block) {
    for (const Tap& tap : model_->taps(block)) {
      for (const LinearRef& linear : tap.linears) {
        EXPECT_NE(imatrix.find(*gguf_tensor_name(*model_, linear.role, block)), nullptr)
            << linear.role;
      }
    }
  }
  const bool has_router = model_->config().experts > 0;
  EXPECT_EQ(imatrix.find("blk.0.ffn_gate_inp.weight") != nullptr, has_router);
}

TEST_P(ImatrixOf, IsTheSameForAnyThreadCount) {
  const Imatrix one = collect(1);
  const Imatrix three = collect(3);
  ASSERT_EQ(one.entries.size(), three.entries.size());
  for (std::size_t i = 0; i < one.entries.size(); ++i) {
    EXPECT_EQ(one.entries[i].sums, three.entries[i].sums);
    EXPECT_EQ(one.entries[i].counts, three.entries[i].counts);
  }
}

TEST_P(ImatrixOf, GivesDiagonalGrams) {
  const Imatrix imatrix = collect();
  auto grams = ImatrixGrams::create(*model_, imatrix, "file");
  ASSERT_TRUE(grams.ok()) << grams.status().message();
  const auto weights = BlockWeights::load(*model_, 1);
  const std::vector<Tap> taps = model_->taps(1);
  for (std::size_t stage = 0; stage <= taps.size(); ++stage) {
    const auto sums = grams->run_stage(*weights, nullptr, 1, static_cast<int>(stage), taps);
    ASSERT_TRUE(sums.ok());
    const Gram* gram = &sums->gram;
    if (stage == taps.size()) {
      EXPECT_EQ(gram->n(), 0);
      break;
    }
    const Tap& tap = taps[stage];
    const ImatrixEntry* entry =
        imatrix.find(*gguf_tensor_name(*model_, tap.linears.front().role, 1));
    ASSERT_EQ(gram->n(), entry->columns);
    EXPECT_EQ(gram->sum()(1, 0), 0);
    if (!tap.by_expert) {
      EXPECT_EQ(gram->tokens(), entry->counts[0]);
      EXPECT_EQ(gram->sum()(1, 1), entry->sums[1]);
      continue;
    }
    const std::vector<int> owners(2, 0);
    const std::vector<Gram> own = grams->expert_grams(tap, 2, owners).value();
    ASSERT_EQ(own.size(), 2u);
    EXPECT_EQ(own[1].tokens(), entry->counts[3]);
    EXPECT_EQ(own[1].sum()(1, 1), entry->sums[static_cast<std::size_t>(3 * entry->columns + 1)]);
  }
}

TEST_P(ImatrixOf, TheHeadIsUniformUnlessItWasMeasured) {
  Imatrix imatrix = collect();
  const auto head = HeadWeights::load(*model_);
  ASSERT_TRUE(head.ok());
  const auto corner = [&] {
    auto grams = ImatrixGrams::create(*model_, imatrix, "file");
    EXPECT_TRUE(grams.ok());
    const auto sums = grams->head_gram(*head);
    EXPECT_TRUE(sums.ok());
    const Gram* gram = &sums->gram;
    EXPECT_EQ(gram->n(), model_->config().hidden);
    return gram->normalised()(1, 1);
  };
  EXPECT_EQ(corner(), 1);
  const auto hidden = static_cast<std::size_t>(model_->config().hidden);
  imatrix.entries.push_back(
      {"output.weight", model_->config().hidden, std::vector<float>(hidden, 6.0F), {4}});
  EXPECT_EQ(corner(), 1.5F);
}

TEST_P(ImatrixOf, OfAnotherModelIsRefused) {
  const Imatrix good = collect();
  const std::string name = *gguf_tensor_name(*model_, model_->taps(0)[1].linears[0].role, 0);
  const auto refusal = [&](Imatrix bad) {
    const auto grams = ImatrixGrams::create(*model_, bad, "file");
    EXPECT_FALSE(grams.ok());
    EXPECT_THAT(grams.status().message(), HasSubstr(name));
    return grams.ok() ? std::string() : grams.status().message();
  };
  const auto spoilt = [&](auto&& spoil) {
    Imatrix bad = good;
    for (ImatrixEntry& entry : bad.entries) {
      if (entry.tensor == name) spoil(entry);
    }
    return bad;
  };
  EXPECT_THAT(refusal(spoilt([](ImatrixEntry& e) { e.tensor = "other"; })),
              HasSubstr("no entry for"));
  EXPECT_THAT(refusal(spoilt([](ImatrixEntry& e) { e.columns /= 2; })),
              HasSubstr("belongs to another model"));
  EXPECT_THAT(refusal(spoilt([](ImatrixEntry& e) { e.counts[0] = 0; })),
              HasSubstr("measured on no token"));
}

INSTANTIATE_TEST_SUITE_P(Tiny, ImatrixOf,
                         ::testing::Values("llama", "phi3", "gpt2", "mixtral", "qwen3-moe"),
                         [](const auto& param) {
                           std::string name = param.param;
                           if (const auto at = name.find('-'); at != std::string::npos) {
                             name[at] = '_';
                           }
                           return name;
                         });

}  // namespace
}  // namespace coldpress
