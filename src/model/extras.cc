#include "model/extras.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <vector>

namespace coldpress {
namespace {

std::vector<std::string_view> components(std::string_view name) {
  std::vector<std::string_view> out;
  for (;;) {
    const std::size_t dot = name.find('.');
    out.push_back(name.substr(0, dot));
    if (dot == std::string_view::npos) return out;
    name.remove_prefix(dot + 1);
  }
}

// The number after "layers" or, in GGUF, "blk".
std::optional<int64_t> block_of(const std::vector<std::string_view>& parts) {
  for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
    if (parts[i] != "layers" && parts[i] != "blk") continue;
    int64_t block = 0;
    const std::string_view digits = parts[i + 1];
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), block);
    if (error == std::errc() && end == digits.data() + digits.size()) return block;
  }
  return std::nullopt;
}

bool contains_any(const std::vector<std::string_view>& parts,
                  std::initializer_list<std::string_view> names) {
  return std::any_of(parts.begin(), parts.end(), [&](std::string_view part) {
    return std::find(names.begin(), names.end(), part) != names.end();
  });
}

}  // namespace

std::optional<std::string> known_extra(const Model& model, const SourceTensor& tensor) {
  const std::vector<std::string_view> parts = components(tensor.name);
  if (contains_any(parts,
                   {"vision_tower", "vision_model", "visual", "vision_encoder",
                    "multi_modal_projector", "mm_projector", "connector", "vision_embed_tokens",
                    "mlp1", "embed_vision", "image_newline", "audio_tower", "embed_audio"})) {
    return "of an image or audio encoder, which the language model does not run";
  }
  if (contains_any(parts, {"mtp", "mtp_block", "nextn", "mtp_layers"})) {
    return "of a head that predicts further tokens (MTP), which the model itself does not run";
  }
  const auto block = block_of(parts);
  if (block && *block >= model.config().blocks) {
    return "of a layer beyond the model's own (MTP), which the model itself does not run";
  }
  const bool mask = tensor.shape.size() == 4 && (tensor.name.ends_with(".attn.bias") ||
                                                 tensor.name.ends_with(".attention.bias"));
  if (mask || tensor.name.ends_with(".masked_bias")) {
    return "a buffer of the causal mask, which follows from the configuration";
  }
  const Naming naming = model.is_gguf() ? Naming::kGguf : Naming::kHf;
  if (is_buffer(model.architecture(), naming, tensor.name)) return "follows from the configuration";
  return std::nullopt;
}

}  // namespace coldpress
