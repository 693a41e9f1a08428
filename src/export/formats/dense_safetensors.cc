// A Hugging Face folder: the source's shards with the same names and order, its other files byte
// for byte, and coldpress.json, the manifest.
#include <fmt/format.h>

#include <map>
#include <optional>
#include <utility>

#include "export/dense_sink.h"
#include "export/hf_config.h"
#include "export/hf_files.h"
#include "export/table.h"
#include "io/file.h"
#include "io/safetensors.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;

class SafetensorsSink final : public DenseSink {
 public:
  SafetensorsSink(const ExportRequest& request, Layout layout, AtomicFolder folder)
      : DenseSink(request, std::move(layout)), folder_(std::move(folder)) {}

  // Reserves the shards' space, so that a full disk is known before any compute.
  Status create_shards(const Model& model) {
    std::vector<std::string> order;
    std::map<std::string, std::vector<SafetensorsWriter::Declaration>> declared;
    for (const OutputTensor& t : layout()) {
      auto& tensors = declared[t.shard];
      if (tensors.empty()) order.push_back(t.shard);
      tensors.push_back({t.name, t.dtype, t.shape});
    }
    for (const std::string& shard : order) {
      std::map<std::string, std::string> metadata = {{"format", "pt"}};
      if (!model.is_gguf()) {
        COLDPRESS_ASSIGN_OR_RETURN(const SafetensorsFile source,
                                   SafetensorsFile::open(model.path() / shard));
        metadata = source.content().metadata;
      }
      COLDPRESS_ASSIGN_OR_RETURN(
          SafetensorsWriter writer,
          SafetensorsWriter::create(folder_.work_path() / shard, declared[shard], metadata));
      writers_.emplace(shard, std::move(writer));
    }
    return {};
  }

  // `made`: for a source that has no such files itself.
  Status write_other_files(const Model& model, DType dense_type, const HfFolderFiles* made) {
    if (made != nullptr) {
      COLDPRESS_RETURN_IF_ERROR(write_text_file(work_path() / "config.json", made->config_json));
      COLDPRESS_RETURN_IF_ERROR(
          write_text_file(work_path() / "tokenizer.json", made->tokenizer.tokenizer_json));
      return write_text_file(work_path() / "tokenizer_config.json",
                             made->tokenizer.tokenizer_config_json);
    }
    // The folder's weights are dense now.
    const bool packed = model.source_is_quantised() || !model.set_aside().empty();
    COLDPRESS_RETURN_IF_ERROR(
        copy_hf_sidecars(model.path(), work_path(), dense_type, packed, model.config()));
    if (writers_.contains(kSingleShard)) return {};
    uint64_t total = 0;
    std::map<std::string, std::string> shard_of;
    for (const OutputTensor& t : layout()) {
      auto bytes = static_cast<uint64_t>(dtype_size(t.dtype));
      for (const int64_t dim : t.shape) bytes *= static_cast<uint64_t>(dim);
      total += bytes;
      shard_of[t.name] = t.shard;
    }
    return copy_hf_index(model.path(), work_path(), total, shard_of);
  }

 private:
  Status write(const OutputTensor& tensor, std::span<const std::byte> bytes) override {
    return writers_.at(tensor.shard).write(tensor.name, bytes);
  }
  Status seal(const ExportManifest& manifest) override {
    for (auto& [shard, writer] : writers_) COLDPRESS_RETURN_IF_ERROR(writer.finish());
    return write_text_file(work_path() / kManifestFile, manifest.full);
  }
  const fs::path& work_path() const override { return folder_.work_path(); }
  Status commit() override { return folder_.commit(); }

  AtomicFolder folder_;
  std::map<std::string, SafetensorsWriter> writers_;
};

Result<std::unique_ptr<ExportSink>> create(const ExportRequest& request) {
  COLDPRESS_ASSIGN_OR_RETURN(Layout layout, plan_layout(request, Naming::kHf));
  std::optional<HfFolderFiles> made;
  if (request.model.is_gguf()) {
    COLDPRESS_ASSIGN_OR_RETURN(
        made, hf_files_of(request.model, request.dense_type, request.tokenizer_pre));
  }
  COLDPRESS_ASSIGN_OR_RETURN(AtomicFolder folder, AtomicFolder::create(request.out));
  auto sink = std::make_unique<SafetensorsSink>(request, std::move(layout), std::move(folder));
  COLDPRESS_RETURN_IF_ERROR(sink->create_shards(request.model));
  COLDPRESS_RETURN_IF_ERROR(sink->write_other_files(request.model, request.dense_type,
                                                    made.has_value() ? &*made : nullptr));
  return std::unique_ptr<ExportSink>(std::move(sink));
}

}  // namespace

extern const ExportFormat kExportFormat_dense_safetensors;
const ExportFormat kExportFormat_dense_safetensors = {
    .name = "safetensors folder",
    .suffix = "",
    .create = create,
};

}  // namespace coldpress
