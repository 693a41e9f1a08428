#include "model/packed_source.h"

#include <fmt/format.h>

#include <unordered_set>
#include <utility>

#include "io/json.h"
#include "io/show_name.h"

namespace coldpress {
namespace {

// Scales that a runtime applies to activations and to its cache of keys and values.
bool scales_an_activation(std::string_view name) {
  for (const std::string_view suffix :
       {".input_scale", ".input_zero_point", ".output_scale", ".output_zero_point", ".k_scale",
        ".v_scale", ".q_scale", "_input_scale_inv", ".activation_scale"}) {
    if (name.ends_with(suffix)) return true;
  }
  return false;
}

Result<const PackedForm*> form_of(const Json& settings, const std::string& where) {
  const auto method = settings.find("quant_method");
  const std::string name =
      method != settings.end() && method->is_string() ? method->get<std::string>() : "";
  std::string known;
  for (const PackedForm* form : packed_table()) {
    if (form->quant_method == name) return form;
    known += (known.empty() ? "" : ", ") + std::string(form->quant_method);
  }
  return unsupported(fmt::format("{}: the weights are quantised by {}; {} can be read", where,
                                 show_name(name), known));
}

}  // namespace

Result<std::optional<Json>> quantization_settings(std::string_view config_json,
                                                  const std::string& where) {
  COLDPRESS_ASSIGN_OR_RETURN(const Json json, parse_json(config_json, where));
  if (!json.is_object()) return std::optional<Json>();
  const auto found = json.find("quantization_config");
  if (found == json.end() || found->is_null()) return std::optional<Json>();
  if (!found->is_object()) return corrupt(where + ": key \"quantization_config\" is no object");
  return std::optional<Json>(*found);
}

Result<PackedSource> find_packed(const Json& settings, const StoredTensors& stored,
                                 const std::string& where) {
  COLDPRESS_ASSIGN_OR_RETURN(const PackedForm* form, form_of(settings, where));
  COLDPRESS_ASSIGN_OR_RETURN(const auto reader, form->open(settings, where));
  PackedSource found;
  std::unordered_set<std::string> names;
  for (const StoredTensor& t : stored.all()) {
    COLDPRESS_ASSIGN_OR_RETURN(auto weight, reader->read(t, stored));
    if (!weight) {
      if (scales_an_activation(t.name)) {
        found.set_aside.emplace(t.name, "scales activations for the source's own runtime");
      }
      continue;
    }
    const bool taken = weight->name != t.name && stored.find(weight->name) != nullptr;
    if (taken || !names.insert(weight->name).second) {
      return corrupt(fmt::format("{} is stored twice, once packed in {}", stored.what(weight->name),
                                 show_name(t.name)));
    }
    for (const std::string& part : weight->parts) {
      if (part != weight->name) {
        found.set_aside.emplace(part,
                                fmt::format("part of {}, which has its values", weight->name));
      }
    }
    found.weights.push_back(std::move(*weight));
  }
  return found;
}

}  // namespace coldpress
