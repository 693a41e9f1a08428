// What the entries for Qwen share: text models, and those inside models that also take images.
#pragma once

#include "model/roles.h"
#include "model/table.h"

namespace coldpress::qwen {

// Qwen2: biases on q, k and v, whatever the configuration says.
inline constexpr RoleSpec kRoles2[] = {
    roles::kTokenEmbd,
    roles::kOutputNorm,
    roles::kOutput,
    roles::kAttnNorm,
    roles::kAttnQ,
    roles::kAttnK,
    roles::kAttnV,
    roles::kAttnQBias.with(Presence::kRequired),
    roles::kAttnKBias.with(Presence::kRequired),
    roles::kAttnVBias.with(Presence::kRequired),
    roles::kAttnO,
    roles::kFfnNorm,
    roles::kFfnGate,
    roles::kFfnUp,
    roles::kFfnDown,
};

// Qwen3: RMS norms on the heads of q and k.
inline constexpr RoleSpec kRoles3[] = {
    roles::kTokenEmbd, roles::kOutputNorm, roles::kOutput,    roles::kAttnNorm,  roles::kAttnQ,
    roles::kAttnK,     roles::kAttnV,      roles::kAttnQBias, roles::kAttnKBias, roles::kAttnVBias,
    roles::kAttnQNorm, roles::kAttnKNorm,  roles::kAttnO,     roles::kAttnOBias, roles::kFfnNorm,
    roles::kFfnGate,   roles::kFfnUp,      roles::kFfnDown,
};

}  // namespace coldpress::qwen
