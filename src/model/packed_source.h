// The packed weights of a Hugging Face folder, found by config.json's "quantization_config".
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/json_type.h"
#include "model/packed_form.h"

namespace coldpress {

// "quantization_config" of a config.json; nullopt if it has none. `where` names it in errors.
Result<std::optional<Json>> quantization_settings(std::string_view config_json,
                                                  const std::string& where);

struct PackedSource {
  std::vector<PackedWeight> weights;
  // Stored tensors that are no tensors of the model by themselves: what each is.
  std::map<std::string, std::string> set_aside;
};

// `where` starts every error: the folder.
Result<PackedSource> find_packed(const Json& settings, const StoredTensors& stored,
                                 const std::string& where);

}  // namespace coldpress
