// A GGUF file: the source's metadata with its file type brought up to date and coldpress.* added,
// in one file or several, and the manifest beside it as NAME.gguf.coldpress.json.
#include <fmt/format.h>

#include <optional>
#include <utility>

#include "export/dense_sink.h"
#include "export/gguf_head.h"
#include "export/gguf_parts.h"
#include "export/hf_files.h"
#include "export/table.h"
#include "io/file.h"
#include "io/gguf.h"
#include "io/json.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;

// llama.cpp's numbers for general.file_type.
uint32_t file_type(DType dense_type) {
  if (dense_type == DType::kF16) return 1;
  return dense_type == DType::kBF16 ? 32 : 0;
}

void set(GgufMetadata& metadata, const std::string& key, GgufValue value) {
  for (auto& [name, old] : metadata) {
    if (name == key) {
      old = std::move(value);
      return;
    }
  }
  metadata.emplace_back(key, std::move(value));
}

// The manifest is known only after the last tensor, but stands before the first one: its place is
// reserved, and what it does not need is filled with spaces, which JSON ignores. Small, so that a
// quantised file has the size that llama-quantize gives it, but for a fraction of a percent.
constexpr std::size_t kManifestCapacity = 16384;

class GgufSink final : public DenseSink {
 public:
  GgufSink(const ExportRequest& request, Layout layout, GgufParts writer)
      : DenseSink(request, std::move(layout)), out_(request.out), writer_(std::move(writer)) {}

 private:
  Status write(const OutputTensor& tensor, std::span<const std::byte> bytes) override {
    return writer_.write(tensor.name, bytes);
  }

  Status seal(const ExportManifest& manifest) override {
    std::string inside = manifest.reproducible;
    if (inside.size() > kManifestCapacity) {
      inside = Json{{"manifest", "in " + sidecar().filename().string()}}.dump();
    }
    inside.resize(kManifestCapacity, ' ');
    COLDPRESS_RETURN_IF_ERROR(writer_.set_string(kManifestKey, inside));
    COLDPRESS_RETURN_IF_ERROR(writer_.seal());
    COLDPRESS_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(sidecar()));
    COLDPRESS_RETURN_IF_ERROR(file.append(manifest.full));
    manifest_file_.emplace(std::move(file));
    return {};
  }

  const fs::path& work_path() const override { return writer_.work_path(); }

  // The manifest first: a model is never there without it.
  Status commit() override {
    COLDPRESS_RETURN_IF_ERROR(manifest_file_->commit());
    const Status done = writer_.commit();
    if (!done.ok()) remove_file(sidecar());
    return done;
  }

  fs::path sidecar() const {
    fs::path path = out_;
    path += ".coldpress.json";
    return path;
  }

  fs::path out_;
  GgufParts writer_;
  std::optional<AtomicFile> manifest_file_;
};

// The metadata and alignment to start from.
struct Head {
  GgufMetadata metadata;
  uint64_t alignment = 32;
};

Result<Head> head_of(const ExportRequest& request, const std::vector<OutputTensor>& tensors) {
  if (!request.model.is_gguf()) {
    COLDPRESS_ASSIGN_OR_RETURN(GgufMetadata metadata,
                               gguf_metadata_of(request.model, tensors, request.tokenizer_pre));
    return Head{std::move(metadata)};
  }
  COLDPRESS_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::open(request.model.path()));
  Head head{file.content().metadata, file.content().alignment};
  put_online_parts(request.model.config().online, head.metadata);
  return head;
}

Result<std::unique_ptr<ExportSink>> create(const ExportRequest& request) {
  COLDPRESS_ASSIGN_OR_RETURN(Layout layout, plan_layout(request, Naming::kGguf));
  COLDPRESS_ASSIGN_OR_RETURN(Head head, head_of(request, layout.tensors));
  set(head.metadata, "general.file_type",
      GgufValue::u32(request.gguf_file_type.value_or(file_type(request.dense_type))));
  if (!request.block_types.empty()) {
    constexpr uint32_t kQuantizationVersion = 2;  // of ggml's present block formats
    set(head.metadata, "general.quantization_version", GgufValue::u32(kQuantizationVersion));
  }
  set(head.metadata, "coldpress.version", GgufValue::string(request.version));
  set(head.metadata, kManifestKey, GgufValue::string(std::string(kManifestCapacity, ' ')));

  std::vector<GgufWriter::Declaration> tensors;
  for (const OutputTensor& t : layout.tensors) tensors.push_back({t.name, t.shape, t.ggml_type});
  COLDPRESS_ASSIGN_OR_RETURN(
      GgufParts writer, GgufParts::create(request.out, std::move(head.metadata), std::move(tensors),
                                          head.alignment, request.split_bytes));
  return std::unique_ptr<ExportSink>(
      std::make_unique<GgufSink>(request, std::move(layout), std::move(writer)));
}

}  // namespace

extern const ExportFormat kExportFormat_dense_gguf;
const ExportFormat kExportFormat_dense_gguf = {
    .name = "GGUF",
    .suffix = ".gguf",
    .create = create,
};

}  // namespace coldpress
