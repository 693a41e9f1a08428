// Any bytes as a GGUF file: container, model configuration, vocabulary, and the tensors' codecs.
#include <cstdlib>
#include <vector>

#include "base/check.h"
#include "io/ggml_codec.h"
#include "io/gguf.h"
#include "io/gguf_split.h"
#include "model/parse_config.h"
#include "tokenizer/vocab.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto content = coldpress::parse_gguf(bytes, "fuzz.gguf");
  if (!content.ok()) {
    COLDPRESS_CHECK(!content.status().message().empty());
    return 0;
  }
  (void)coldpress::merge_splits({*content}, {"fuzz.gguf"});
  (void)coldpress::merge_splits({*content, *content}, {"fuzz.gguf", "again.gguf"});
  (void)coldpress::parse_gguf_config(*content, "fuzz.gguf");
  (void)coldpress::vocab_from_metadata(content->metadata, "fuzz.gguf");
  uint64_t total = 0;
  for (const coldpress::GgufTensor& t : content->tensors) {
    total += t.data.size();
    uint64_t elements = 1;
    for (const int64_t dim : t.shape) elements *= static_cast<uint64_t>(dim);
    if (t.data.empty()) continue;
    std::vector<float> values(elements);
    (void)coldpress::decode_ggml(t.ggml_type, t.data, t.shape.empty() ? 1 : t.shape.back(), values);
  }
  COLDPRESS_CHECK(total <= size);  // no two tensors share bytes
  return 0;
}
