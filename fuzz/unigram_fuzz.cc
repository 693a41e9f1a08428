// Any text as a tokenizer.json with a unigram model: an error or pieces within their limits.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/check.h"
#include "io/json.h"
#include "tokenizer/hf_unigram.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto json = coldpress::parse_json(text, "tokenizer.json");
  if (!json.ok() || !json->is_object() || !json->contains("model")) return 0;
  const auto unigram = coldpress::read_unigram(*json, "tokenizer.json");
  if (!unigram.ok()) {
    COLDPRESS_CHECK(!unigram.status().message().empty());
    return 0;
  }
  COLDPRESS_CHECK(!unigram->pieces.empty() && unigram->pieces.size() == unigram->scores.size());
  COLDPRESS_CHECK(unigram->unk >= 0 &&
                  static_cast<std::size_t>(unigram->unk) < unigram->pieces.size());
  COLDPRESS_CHECK(unigram->merges_spaces == unigram->space_prefix);
  return 0;
}
