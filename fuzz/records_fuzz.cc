// Any bytes as a calibration file of JSON lines: errors with a place, or records that hold their
// promises.
#include <cstdlib>
#include <string_view>

#include "base/check.h"
#include "calibration/records.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  coldpress::RecordReader reader({reinterpret_cast<const char*>(data), size}, "fuzz.jsonl");
  for (;;) {
    const auto record = reader.next();
    if (!record.ok()) {
      COLDPRESS_CHECK(record.status().message().find("line ") != std::string::npos);
      return 0;
    }
    if (!record->has_value()) return 0;
    COLDPRESS_CHECK((*record)->line > 0);
    for (const int32_t id : (*record)->tokens) COLDPRESS_CHECK(id >= 0);
  }
}
