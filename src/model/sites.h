// Where a block can be changed without changing what the model computes: scales that norms absorb,
// and rotations. Derived from the declaration alone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"
#include "model/table.h"

namespace coldpress {

// A norm whose output only matrices read: its gain (and bias) may be divided, channel by channel,
// by what the columns of all its readers are multiplied with.
struct ScaleSite {
  std::string_view norm;                  // role of the gain
  std::vector<std::string_view> readers;  // roles of the matrices, routers included
};
std::vector<ScaleSite> scale_sites(const Architecture& architecture);

// An orthogonal matrix that may be put between those that write an activation and those that read
// it.
struct RotationSite {
  std::string_view name;  // "residual": the stream itself; "value_heads": v to o, per head
  bool is_possible = false;
  std::string why_not;  // one sentence; empty if it is possible
};
std::vector<RotationSite> rotation_sites(const Architecture& architecture);

// Where the rows of value heads begin in "attn_v", or in "attn_qkv" where that is fused.
struct HeadRows {
  int64_t first;  // of head 0
  int64_t apart;  // from one head to the next
};
HeadRows value_head_rows(const ModelConfig& config, bool is_fused);

}  // namespace coldpress
