// Falcon 7B and 11B: attention and feed-forward side by side after one norm, q, k and v of each key
// head together in one matrix. 40B has two norms: arch/falcon_two_norms.cc.
#include "model/arch/falcon.h"

namespace coldpress {
namespace {

constexpr RoleSpec kRoles[] = {
    falcon::kTokenEmbd,
    falcon::kOutputNorm,
    falcon::kOutputNormBias,
    roles::kOutput,
    roles::kAttnNorm.in_hf("transformer.h.{}.input_layernorm.weight"),
    roles::kAttnNormBias.in_hf("transformer.h.{}.input_layernorm.bias"),
    falcon::kAttnQkv,
    falcon::kAttnQkvBias,
    falcon::kAttnO,
    falcon::kAttnOBias,
    falcon::kFfnUp,
    falcon::kFfnUpBias,
    falcon::kFfnDown,
    falcon::kFfnDownBias,
};

}  // namespace

extern const Architecture kArchitecture_falcon;
const Architecture kArchitecture_falcon = falcon::declared("falcon", kRoles);

}  // namespace coldpress
