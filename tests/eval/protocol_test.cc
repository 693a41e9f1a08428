#include "eval/protocol.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

namespace coldpress {
namespace {

using ::testing::HasSubstr;

std::vector<int32_t> counting(std::size_t n) {
  std::vector<int32_t> tokens(n);
  std::iota(tokens.begin(), tokens.end(), 1000);
  return tokens;
}

EvalWindows cut(EvalProtocol protocol, std::size_t n, std::optional<int32_t> bos,
                int64_t max_windows = 0) {
  const auto w = cut_eval_windows(protocol, counting(n), bos, max_windows);
  EXPECT_TRUE(w.ok()) << w.status().message();
  return w.ok() ? *w : EvalWindows();
}

TEST(Protocol, GptqWindowsLieSideBySideWithoutBos) {
  const EvalWindows w = cut(EvalProtocol::kGptq2048, 3 * 2048 + 2047, 7);
  EXPECT_EQ(w.count(), 3);
  EXPECT_FALSE(w.bos);
  EXPECT_EQ(w.first_scored, 0);
  EXPECT_EQ(w.scored, 2047);
  EXPECT_EQ(w.inputs, counting(3 * 2048));
  EXPECT_EQ(w.targets[0], 1001);
  EXPECT_EQ(w.targets[2046], 1000 + 2047);
  EXPECT_EQ(w.targets[2047], -1);
  EXPECT_EQ(w.targets[2048], 1000 + 2049);
}

// The stream gets BOS in front, as llama-perplexity tokenises it, and each window's first token is
// overwritten by BOS.
TEST(Protocol, LlamaCppWindowsStartWithBosAndScoreTheSecondHalf) {
  const EvalWindows w = cut(EvalProtocol::kLlamaCpp512, 1024, 7);
  EXPECT_EQ(w.count(), 2);
  EXPECT_TRUE(w.bos);
  EXPECT_EQ(w.first_scored, 256);
  EXPECT_EQ(w.scored, 255);
  EXPECT_EQ(w.inputs[0], 7);
  EXPECT_EQ(w.inputs[1], 1000);
  EXPECT_EQ(w.inputs[511], 1510);
  EXPECT_EQ(w.inputs[512], 7);  // was 1511
  EXPECT_EQ(w.inputs[513], 1512);
  EXPECT_EQ(w.targets[256], 1256);
  EXPECT_EQ(w.targets[510], 1510);
  EXPECT_EQ(w.targets[511], -1);
}

TEST(Protocol, WithoutBosTheTokensStay) {
  const EvalWindows w = cut(EvalProtocol::kLlamaCpp512, 1500, std::nullopt);
  EXPECT_EQ(w.count(), 2);
  EXPECT_FALSE(w.bos);
  EXPECT_EQ(w.inputs, counting(1024));
  EXPECT_EQ(w.targets[512], 1513);
}

TEST(Protocol, WindowsAreLimited) {
  EXPECT_EQ(cut(EvalProtocol::kLlamaCpp512, 5120, {}, 3).count(), 3);
  EXPECT_EQ(cut(EvalProtocol::kLlamaCpp512, 1024, {}, 3).count(), 2);
}

TEST(Protocol, TooLittleTextIsAnError) {
  const auto w = cut_eval_windows(EvalProtocol::kGptq2048, counting(2047), {}, 0);
  ASSERT_FALSE(w.ok());
  EXPECT_THAT(w.status().message(), HasSubstr("2047 tokens"));
  EXPECT_THAT(w.status().message(), HasSubstr("2048"));
  EXPECT_FALSE(cut_eval_windows(EvalProtocol::kGptq2048, {}, {}, 0).ok());
  EXPECT_FALSE(cut_eval_windows(EvalProtocol::kGptq2048, counting(4096), {}, -1).ok());
  // BOS counts: 511 tokens and BOS fill one window.
  EXPECT_TRUE(cut_eval_windows(EvalProtocol::kLlamaCpp512, counting(511), 7, 0).ok());
}

TEST(Protocol, LineEndsAreReadAsTheProtocolsProgramsDo) {
  const std::string dos = "a\r\n\r\nb\rc\n\r";
  EXPECT_EQ(protocol_text(EvalProtocol::kGptq2048, dos), "a\n\nb\nc\n\n");
  EXPECT_EQ(protocol_text(EvalProtocol::kLlamaCpp512, dos), dos);
}

TEST(Protocol, NamesSurvive) {
  for (const auto p : {EvalProtocol::kGptq2048, EvalProtocol::kLlamaCpp512}) {
    const auto back = protocol_from_name(protocol_name(p));
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(*back, p);
  }
  const auto unknown = protocol_from_name("c4-2048");
  ASSERT_FALSE(unknown.ok());
  EXPECT_THAT(unknown.status().message(), HasSubstr("known: gptq-2048, llama.cpp-512"));
}

}  // namespace
}  // namespace coldpress
