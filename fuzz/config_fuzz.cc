// Any text as config.json: an error or a configuration within the documented limits.
#include <cmath>
#include <cstdlib>
#include <string_view>

#include "base/check.h"
#include "model/parse_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = coldpress::parse_hf_config(text, "config.json");
  if (!config.ok()) {
    COLDPRESS_CHECK(!config.status().message().empty());
    return 0;
  }
  COLDPRESS_CHECK(config->hidden > 0 && config->blocks > 0 && config->vocab > 0);
  COLDPRESS_CHECK(config->heads > 0 && config->kv_heads > 0 && config->head_dim > 0);
  COLDPRESS_CHECK(config->heads % config->kv_heads == 0);
  COLDPRESS_CHECK(std::isfinite(config->attention_scale) && !config->rope.empty());
  return 0;
}
