// Evaluation protocols: how a token stream is cut into windows and which tokens are scored. Numbers
// of different protocols are never comparable, so each carries its name.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace coldpress {

enum class EvalProtocol {
  // "gptq-2048", as GPTQ's papers measure, with transformers: windows of 2048 side by side, no BOS,
  // every token but a window's first is scored.
  kGptq2048,
  // "llama.cpp-512", as llama-perplexity measures at its defaults: the stream starts with BOS where
  // the model wants one, which also replaces the first token of each window of 512; the tokens
  // after
  // a window's middle are scored (255 of them).
  kLlamaCpp512,
};

std::string_view protocol_name(EvalProtocol protocol);
// Invalid argument, listing the known ones.
Result<EvalProtocol> protocol_from_name(std::string_view name);
int64_t protocol_context(EvalProtocol protocol);  // tokens per window
// The text as the protocol's own programs read the file: Python's text mode turns "\r\n" and "\r"
// into "\n" (gptq-2048), llama.cpp's tools take the bytes as they are. On a file with DOS line ends
// this alone moves SmolLM2's perplexity by 3 %.
std::string protocol_text(EvalProtocol protocol, std::string_view text);
// True if the texts' special tokens ("<unk>", ...) are read as such: what the protocol's own
// programs do (transformers: yes; llama.cpp's tools: no).
bool protocol_parses_special(EvalProtocol protocol);

struct EvalWindows {
  int64_t context = 0;
  std::vector<int32_t> inputs;   // count() * context, BOS in place
  std::vector<int32_t> targets;  // the token after each input; a window's last is unused (-1)
  int64_t first_scored = 0;      // positions [first_scored, first_scored + scored) of each window:
  int64_t scored = 0;            // their logits are compared with their targets
  bool bos = false;              // windows start with BOS

  int64_t count() const { return context == 0 ? 0 : static_cast<int64_t>(inputs.size()) / context; }
};

// At most `max_windows` (0: all) full windows of `tokens`, which were tokenised without BOS; `bos`
// is given if the model wants one. Too few tokens for one window is an error. A rest is dropped.
Result<EvalWindows> cut_eval_windows(EvalProtocol protocol, std::span<const int32_t> tokens,
                                     std::optional<int32_t> bos, int64_t max_windows);

}  // namespace coldpress
