// Falcon 40B and 180B: as arch/falcon.cc, with a norm for attention and one for the feed-forward.
#include "model/arch/falcon.h"

namespace coldpress {
namespace {

// GGUF calls the feed-forward's norm attn_norm, and attention's attn_norm_2.
constexpr RoleSpec kRoles[] = {
    falcon::kTokenEmbd,
    falcon::kOutputNorm,
    falcon::kOutputNormBias,
    roles::kOutput,
    roles::kAttnNorm.in_hf("transformer.h.{}.ln_attn.weight").in_gguf("blk.{}.attn_norm_2.weight"),
    roles::kAttnNormBias.in_hf("transformer.h.{}.ln_attn.bias").in_gguf("blk.{}.attn_norm_2.bias"),
    falcon::kAttnQkv,
    falcon::kAttnQkvBias,
    falcon::kAttnO,
    falcon::kAttnOBias,
    roles::kFfnNorm.in_hf("transformer.h.{}.ln_mlp.weight").in_gguf("blk.{}.attn_norm.weight"),
    roles::kFfnNormBias.in_hf("transformer.h.{}.ln_mlp.bias").in_gguf("blk.{}.attn_norm.bias"),
    falcon::kFfnUp,
    falcon::kFfnUpBias,
    falcon::kFfnDown,
    falcon::kFfnDownBias,
};

bool claims_hf(const ConfigKeys& keys) {
  // An error in either key is read_hf's to report.
  const auto grouped = keys.flag_or("new_decoder_architecture", false);
  const auto norms = keys.integer_or("num_ln_in_parallel_attn", 2, 1, 2);
  return grouped.ok() && *grouped && norms.ok() && *norms == 2;
}

bool claims_gguf(const GgufContent& content) {
  return content.find_tensor("blk.0.attn_norm_2.weight") != nullptr;
}

Architecture declaration() {
  Architecture arch = falcon::declared("falcon-40b", kRoles);
  arch.claims_hf = claims_hf;
  arch.claims_gguf = claims_gguf;
  return arch;
}

}  // namespace

extern const Architecture kArchitecture_falcon_two_norms;
const Architecture kArchitecture_falcon_two_norms = declaration();

}  // namespace coldpress
