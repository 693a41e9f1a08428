// Any bytes as a safetensors file: an error or a value whose promises hold.
#include <cstdlib>
#include <vector>

#include "base/check.h"
#include "base/dtype.h"
#include "io/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto content = coldpress::parse_safetensors(bytes, "fuzz.safetensors");
  if (!content.ok()) {
    COLDPRESS_CHECK(!content.status().message().empty());
    return 0;
  }
  uint64_t total = 0;
  for (const coldpress::SafetensorsInfo& t : content->tensors) {
    uint64_t elements = 1;
    for (const int64_t dim : t.shape) elements *= static_cast<uint64_t>(dim);
    COLDPRESS_CHECK(elements * static_cast<uint64_t>(coldpress::dtype_size(t.dtype)) ==
                    t.data.size());
    total += t.data.size();
    std::vector<float> values(elements);
    (void)coldpress::decode_to_f32(t.dtype, t.data, values);
  }
  COLDPRESS_CHECK(total <= size);  // no two tensors share bytes
  return 0;
}
