#include "hessian/imatrix.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "hessian/gram.h"
#include "io/ggml_codec.h"
#include "tests/io/test_files.h"

namespace coldpress {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Imatrix, SurvivesAFile) {
  const TempFolder folder;
  Imatrix before;
  before.chunks = 3;
  before.chunk_size = 64;
  before.datasets = {"c4", "mine"};
  before.entries = {{"blk.1.ffn_up_exps.weight", 2, {1, 2, 3, 4, 0, 0}, {5, 6, 0}},
                    {"blk.0.attn_q.weight", 3, {0.5F, 1e30F, 0}, {192}}};
  const Status written = write_imatrix(folder / "i.gguf", before);
  ASSERT_TRUE(written.ok()) << written.message();
  const auto after = read_imatrix(folder / "i.gguf");
  ASSERT_TRUE(after.ok()) << after.status().message();
  EXPECT_EQ(after->chunks, 3);
  EXPECT_EQ(after->chunk_size, 64);
  EXPECT_EQ(after->datasets, before.datasets);
  ASSERT_EQ(after->entries.size(), 2u);
  EXPECT_EQ(after->entries[0].tensor, "blk.0.attn_q.weight");  // sorted
  for (const ImatrixEntry& entry : before.entries) {
    const ImatrixEntry* read = after->find(entry.tensor);
    ASSERT_NE(read, nullptr);
    EXPECT_EQ(read->columns, entry.columns);
    EXPECT_EQ(read->sums, entry.sums);
    EXPECT_EQ(read->counts, entry.counts);
    EXPECT_EQ(read->matrices(), entry.matrices());
  }
  EXPECT_EQ(after->find("blk.0.attn_k.weight"), nullptr);
}

TEST(Imatrix, OneCountMayStandForAllMatrices) {
  const ImatrixEntry entry{"x", 2, {1, 2, 3, 4}, {7}};
  EXPECT_EQ(entry.matrices(), 2);
  EXPECT_EQ(entry.count(1), 7);
}

// A content with one good entry, to be spoilt.
class BadImatrix : public ::testing::Test {
 protected:
  BadImatrix() {
    content_.metadata = {{"general.type", GgufValue::string("imatrix")},
                         {"imatrix.chunk_count", GgufValue::u32(1)},
                         {"imatrix.chunk_size", GgufValue::u32(8)}};
    content_.tensors = {{"x.in_sum2", {2, 2}, kGgmlF32, std::as_bytes(std::span(sums_))},
                        {"x.counts", {2, 1}, kGgmlF32, std::as_bytes(std::span(counts_))}};
  }
  void expect_refusal(const std::string& part) {
    const auto read = parse_imatrix(content_, "file");
    ASSERT_FALSE(read.ok()) << "not refused: " << part;
    EXPECT_EQ(read.status().code(), StatusCode::kCorrupt);
    EXPECT_THAT(read.status().message(), HasSubstr("file"));
    EXPECT_THAT(read.status().message(), HasSubstr(part));
  }
  std::vector<float> sums_ = {1, 2, 3, 4};
  std::vector<float> counts_ = {8, 8};
  GgufContent content_;
};

TEST_F(BadImatrix, IsGoodBeforeItIsSpoilt) {
  const auto read = parse_imatrix(content_, "file");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_THAT(read->entries[0].counts, ElementsAre(8, 8));
}

TEST_F(BadImatrix, OfAnotherKind) {
  content_.metadata[0].second = GgufValue::string("model");
  expect_refusal("no imatrix");
  content_.metadata.erase(content_.metadata.begin());
  expect_refusal("no imatrix");
}

TEST_F(BadImatrix, Empty) {
  content_.tensors.clear();
  expect_refusal("no tensor");
}

TEST_F(BadImatrix, HalfAnEntry) {
  const GgufTensor counts = content_.tensors.back();
  content_.tensors.pop_back();
  expect_refusal("sums without counts");
  content_.tensors = {counts};
  expect_refusal("counts without sums");
}

TEST_F(BadImatrix, OfAnotherType) {
  content_.tensors[0].ggml_type = kGgmlF16;
  expect_refusal("not F32");
}

TEST_F(BadImatrix, WithoutValues) {
  content_.tensors[1].data = {};
  content_.tensors[1].shape = {0};
  expect_refusal("empty");
}

TEST_F(BadImatrix, WithCountsThatDoNotMatch) {
  content_.tensors[0].shape = {4, 1};
  expect_refusal("2 counts for 4 matrices");
}

TEST_F(BadImatrix, WithValuesThatNoSumOfSquaresIs) {
  for (const float bad : {-1.0F, std::nanf(""), std::numeric_limits<float>::infinity()}) {
    sums_[2] = bad;
    expect_refusal("no sum of squares");
  }
  sums_[2] = 1;
  counts_[1] = 1e30F;
  expect_refusal("rows");
}

TEST_F(BadImatrix, WithImpossibleNumbersOfChunks) {
  content_.metadata[1].second = GgufValue::u32(0xFFFFFFFF);
  expect_refusal("imatrix.chunk_count");
  content_.metadata[1].second = GgufValue::string("many");
  expect_refusal("imatrix.chunk_count");
  content_.metadata[1].second = GgufValue::u32(1);
  content_.metadata[2].second = GgufValue::i32(-1);
  expect_refusal("imatrix.chunk_size");
}

TEST(DiagonalGram, HoldsTheSumsAndNothingElse) {
  const std::vector<double> sums = {2, 0, 6};
  const Gram gram = Gram::diagonal(sums, 4);
  EXPECT_EQ(gram.tokens(), 4);
  const MatrixF h = gram.normalised();
  for (int64_t i = 0; i < 3; ++i) {
    for (int64_t j = 0; j < 3; ++j) {
      EXPECT_EQ(h(i, j), i == j ? sums[static_cast<std::size_t>(i)] / 4 : 0);
    }
  }
}

}  // namespace
}  // namespace coldpress
