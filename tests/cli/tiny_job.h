// Quantises write_tiny_model()'s folder, on write_tiny_text()'s text, within this process.
#pragma once

#include <filesystem>
#include <string>

#include "pipeline/quantize_model.h"

namespace coldpress::test {

// FOLDER/model and FOLDER/text.txt to FOLDER/OUT, in groups of 32. No work is kept.
inline QuantizeJob tiny_job(const std::filesystem::path& folder, const std::string& out) {
  QuantizeJob job;
  job.model = folder / "model";
  job.out = folder / out;
  job.find_text = [](const std::string& name) { return std::filesystem::path(name); };
  job.version = "test";
  job.recipe.method = "gptq";
  job.recipe.grid.group = 32;
  job.recipe.calibration = folder / "text.txt";
  return job;
}

}  // namespace coldpress::test
