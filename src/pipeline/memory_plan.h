// How much memory a run will take, and what it spills to disk to stay below a ceiling. Decided from
// metadata alone; docs/memory.md says what is counted.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "io/json_type.h"
#include "pipeline/driver.h"
#include "pipeline/plan.h"

namespace coldpress {

// The large buffers that can be on disk, in the order in which they go there: what is visited most
// seldom first.
inline constexpr std::array<std::string_view, 4> kSpillable = {"activations", "sums", "weights",
                                                               "scratch"};

struct MemoryRequest {
  int threads = 1;
  uint64_t max_ram = 0;  // 0: no ceiling
};

// Refuses a ceiling that cannot be kept, naming the least one that can.
Result<MemoryPlan> plan_memory(const Model& model, const Plan& plan, const SolverMethod& method,
                               const MemoryRequest& request);

// The memory of each kind of buffer: `spill` for those that the plan spills.
RunMemory run_memory(const MemoryPlan& plan, const Memory& spill);

Json memory_to_json(const MemoryPlan& memory);

}  // namespace coldpress
