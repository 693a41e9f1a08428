// Any bytes as an importance matrix: a GGUF file first, then what its tensors must be.
#include "base/check.h"
#include "hessian/imatrix.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const auto content = coldpress::parse_gguf(std::as_bytes(std::span(data, size)), "fuzz.gguf");
  if (!content.ok()) return 0;
  const auto imatrix = coldpress::parse_imatrix(*content, "fuzz.gguf");
  if (!imatrix.ok()) {
    COLDPRESS_CHECK(!imatrix.status().message().empty());
    return 0;
  }
  COLDPRESS_CHECK(!imatrix->entries.empty());
  for (const coldpress::ImatrixEntry& entry : imatrix->entries) {
    COLDPRESS_CHECK(entry.columns > 0 && entry.matrices() > 0);
    COLDPRESS_CHECK(entry.matrices() * entry.columns == static_cast<int64_t>(entry.sums.size()));
    COLDPRESS_CHECK(entry.count(entry.matrices() - 1) >= 0);
  }
  return 0;
}
