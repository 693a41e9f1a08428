// Writing a pressed model: the quantised tensors arrive one by one with exactly the values that
// were propagated; every other tensor comes from the source. The output appears under its final
// name only after it has been opened again and compared with what went in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/status.h"
#include "base/view.h"
#include "grid/grid.h"
#include "model/model.h"

namespace coldpress {

struct ExportRequest {
  const Model& model;                  // must outlive the sink
  std::filesystem::path out;           // must not exist yet (an empty folder may)
  DType dense_type = DType::kF16;      // F16, BF16 or F32: what quantised tensors are stored as
  std::vector<std::string> quantised;  // names in the source; put() is called once for each
  std::string version;                 // of coldpress, for the file's own record
  std::string tokenizer_pre = {};      // in place of the source's pre-tokenizer; empty: as it says
  // Matrices that are not quantised get the dense type too, instead of keeping theirs where the
  // container has it.
  bool all_dense = false;
  // GGUF: tensors of at most this many bytes per file (but at least one tensor), as
  // NAME-00001-of-0000N.gguf where they need more than one file; 0: one file.
  uint64_t split_bytes = 0;
  // GGUF: ggml types of quantised tensors that are stored in blocks instead of the dense type.
  std::map<std::string, int32_t> block_types = {};
  std::optional<uint32_t> gguf_file_type = {};  // general.file_type; none: the dense type's
  // A folder whose linears are codes (export/code_format.h): the format's name in the table, and
  // the grid of every quantised tensor. Empty: dense values or blocks.
  std::string code_format = {};
  GridOptions grid = {};
  // Folders: files of at most this size (but at least one tensor each) instead of the source's
  // shards; 0: the source's.
  uint64_t shard_bytes = 0;
};

// The record of the run that goes with the weights.
struct ExportManifest {
  std::string full;          // JSON; a file of its own beside the weights, or in their folder
  std::string reproducible;  // JSON that depends on the plan alone; inside files that can hold it
};

// Asked for once everything but the manifest is written, so that it can tell what that took.
using MakeManifest = std::function<ExportManifest()>;

// What became of one tensor of the source.
struct ExportedTensor {
  enum class How {
    kQuantised,  // holds what put() received
    kCopied,     // the source's bytes and type
    kConverted,  // the source's values in another type or arrangement
    kDropped,    // not in the output; `reason` says why
  };
  std::string source_name;  // empty: follows from the configuration
  std::string name;         // in the output
  std::string stored_type;  // as the output's container spells it
  How how = How::kCopied;
  std::string reason = {};
  std::vector<int64_t> shape = {};  // of a dropped one
};

// What a quantised tensor became.
struct PressedTensor {
  View2<const float> values;      // (out, in), as every reader will see them
  View2<const std::byte> blocks;  // packed rows, (out, bytes of a row); empty: stored densely
  // What `values` are, before they were rounded to the dense type; null where experts are stacked.
  const QuantGrid* grid = nullptr;
  View2<const uint8_t> codes = {};  // (out, in)
};

// One output being written. Destroying it before finish() has succeeded leaves nothing behind.
class ExportSink {
 public:
  virtual ~ExportSink() = default;

  // Every tensor of the output, in its order, then the dropped ones; known from the start.
  virtual std::vector<ExportedTensor> tensors() const = 0;
  // A quantised tensor. Each value must be exactly representable in the dense type, or be what the
  // blocks decode to, and the name one of the request's, given once: all are CHECKed.
  virtual Status put(const std::string& source_name, const PressedTensor& tensor) = 0;
  // Writes the rest, opens the result again, compares every tensor with what it must be (bit for
  // bit), and only then gives it its final name.
  virtual Status finish(const MakeManifest& make_manifest) = 0;
  Status finish(const ExportManifest& manifest) {
    return finish([&manifest] { return manifest; });
  }
};

// The format follows from `out` (NAME.gguf is a GGUF file, anything else a Hugging Face folder) and
// from `code_format`.
// What cannot be written (a vocabulary that has no counterpart, an output that exists, a full disk)
// is refused here, before any compute.
Result<std::unique_ptr<ExportSink>> open_export(const ExportRequest& request);

}  // namespace coldpress
