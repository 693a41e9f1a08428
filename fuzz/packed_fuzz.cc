// Any bytes as a packed checkpoint: a quantization_config, a line break, and a safetensors file.
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "model/packed_source.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const std::size_t end = all.find('\n');
  if (end == std::string_view::npos) return 0;
  const auto settings = coldpress::parse_json(all.substr(0, end), "config.json");
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(end + 1);
  const auto file = coldpress::parse_safetensors(bytes, "fuzz.safetensors");
  if (!settings.ok() || !settings->is_object() || !file.ok()) return 0;
  std::vector<coldpress::StoredTensor> stored;
  for (const auto& t : file->tensors) stored.push_back({t.name, t.dtype, t.shape, t.data});
  const auto found =
      coldpress::find_packed(*settings, coldpress::StoredTensors(stored, "fuzz"), "fuzz");
  if (!found.ok()) {
    COLDPRESS_CHECK(!found.status().message().empty());
    return 0;
  }
  for (const coldpress::PackedWeight& weight : found->weights) {
    // A code has at least one bit, so that no weight outgrows its bytes by more than this.
    COLDPRESS_CHECK(static_cast<uint64_t>(weight.rows * weight.cols) <= 32 * size);
    std::vector<float> values(static_cast<std::size_t>(weight.rows * weight.cols));
    (void)weight.decode(values);
  }
  return 0;
}
