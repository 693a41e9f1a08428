// The tables behind export/gguf_mix.h: llama.cpp's mixes, and which tensors of a mix get another
// type than the mix's own.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace coldpress::mix {

// One bit per mix, so that a rule names several at once.
enum Id : uint8_t {
  kQ1_0,
  kQ2_0,
  kQ4_0,
  kQ4_1,
  kMxfp4Moe,
  kQ5_0,
  kQ5_1,
  kIq2Xxs,
  kIq2Xs,
  kIq2S,
  kIq2M,
  kIq1S,
  kIq1M,
  kTq1_0,
  kTq2_0,
  kQ2K,
  kQ2KS,
  kIq3Xxs,
  kIq3S,
  kIq3M,
  kIq3Xs,
  kQ3KS,
  kQ3KM,
  kQ3KL,
  kIq4Nl,
  kIq4Xs,
  kQ4KS,
  kQ4KM,
  kQ5KS,
  kQ5KM,
  kQ6K,
  kQ8_0,
  kF16,
  kBF16,
  kF32
};

struct Row {
  Id id;
  std::string_view name;
  std::string_view alias;  // may be empty
  uint32_t file_type;
  std::string_view type;  // ggml's name
};
std::span<const Row> rows();

// What a tensor is for, as far as mixes tell tensors apart.
enum class Part : uint8_t {
  kEmbedding,  // of tokens, where the output has a matrix of its own
  kHead,       // the output, or the embedding that serves as one
  kValue,      // attention's v, or a matrix that holds v among others
  kKey,
  kQuery,
  kAttentionOutput,
  kGate,
  kUp,
  kDown,
  kOther
};

// Where a tensor stands. Layers count from 0.
struct Place {
  int64_t turn = 0;   // how many tensors of this part came before, in the order of the file
  int64_t turns = 0;  // how many there are (of gate, up and down: blocks)
  int64_t layer = 0;  // its block where there are experts, else as `turn`
  int64_t gqa = 0;    // query heads per key head
  int64_t experts = 0;
  bool is_stack = false;  // the matrices of all experts in one tensor
  bool is_falcon = false;
  bool is_70b = false;  // many query heads on few keys: v is small there
  bool has_imatrix = false;
  bool fits_own_type = true;  // the mix's own type divides its rows
  std::string_view own_type;  // ggml's name of it
};

// The type of a quantised tensor, by ggml's name; nullopt: the mix's own.
std::optional<std::string_view> type_of(Id mix, Part part, const Place& place);

// The 32-wide type (or the like) that stands in for one whose blocks do not divide a row; nullopt:
// there is none.
std::optional<std::string_view> stand_in(std::string_view type);

}  // namespace coldpress::mix
