// Whether the disk has room for a run, before it begins.
#pragma once

#include <cstdint>
#include <filesystem>

#include "base/status.h"
#include "model/model.h"
#include "pipeline/plan.h"

namespace coldpress {

// Bytes, estimated from the plan.
struct DiskNeeds {
  uint64_t output = 0;
  // Of OUT.work (pipeline/work_folder.h). One and a half times the activations: old ones go when
  // new ones are there.
  uint64_t journal = 0;
  uint64_t activations = 0;
  uint64_t sum() const { return output + journal + activations; }
};

// `streams`: residual streams of `samples` windows that are carried through the model: 2 where the
// unquantised model runs too, 0 where no windows run.
DiskNeeds disk_needs(const Model& model, const Plan& plan, int streams);

// Refuses what does not fit beside `out`. `used`: what is on the disk of it already.
Status check_disk_space(const std::filesystem::path& out, const DiskNeeds& needs, uint64_t used);

}  // namespace coldpress
