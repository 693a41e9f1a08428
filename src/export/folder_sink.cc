#include "export/folder_sink.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include "base/hash.h"
#include "export/dense_sink.h"
#include "export/hf_config.h"
#include "export/hf_files.h"
#include "io/file.h"
#include "io/json.h"
#include "io/safetensors.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;
using How = OutputTensor::How;

// How the tensors of a layout are stored.
class Storage {
 public:
  Storage(const CodeFormat* codes, const GridOptions& grid) : codes_(codes), grid_(grid) {}

  bool is_coded(const OutputTensor& t) const {
    return codes_ != nullptr && t.how == How::kQuantised;
  }
  // One tensor, or the parts of a coded linear.
  std::vector<CodedPart> parts(const OutputTensor& t) const {
    if (!is_coded(t)) return {{t.name, CodedPart::Holds::kCodes, t.dtype, t.shape}};
    return codes_->parts(grid_, module_of(t.name), t.shape[0], t.shape[1]);
  }
  uint64_t bytes(const OutputTensor& t) const {
    uint64_t sum = 0;
    for (const CodedPart& part : parts(t)) sum += part.bytes();
    return sum;
  }
  const CodeFormat* codes() const { return codes_; }
  const GridOptions& grid() const { return grid_; }

 private:
  const CodeFormat* codes_;
  GridOptions grid_;
};

// Tensors that become codes get the type that they will be read back with.
Status plan_codes(const ExportRequest& request, const Storage& storage, Layout* layout) {
  for (OutputTensor& t : layout->tensors) {
    if (!storage.is_coded(t)) continue;
    if (t.shape.size() != 2 || !t.pieces.empty()) {
      return unsupported(fmt::format(
          "{}: tensor \"{}\" holds several experts, which --format {} stores one by one; use a "
          "folder with a tensor for each expert as the source, or --format dense",
          request.model.path().string(), t.name, request.code_format));
    }
    if (t.transposed) {
      return unsupported(
          fmt::format("{}: tensor \"{}\" is stored as (inputs, outputs), which the loaders of "
                      "--format {} do not take; use --format dense",
                      request.model.path().string(), t.name, request.code_format));
    }
    const Status fits = check_codes_size(*storage.codes(), storage.grid(), t.shape[0], t.shape[1]);
    if (!fits.ok()) return fits.with_context("tensor " + t.name);
    t.stored_type = storage.codes()->stored_type(storage.grid(), t.shape[1]);
  }
  return {};
}

// The header's share of a tensor: its name, type, shape and offsets, amply.
constexpr uint64_t kHeaderBytes = 192;

// Files of at most `limit` bytes in the layout's order.
void assign_shards(const Storage& storage, uint64_t limit, std::vector<OutputTensor>* tensors) {
  std::vector<std::size_t> shard(tensors->size());
  std::size_t count = 0;
  uint64_t filled = 0;
  for (std::size_t i = 0; i < tensors->size(); ++i) {
    uint64_t bytes = 0;
    for (const CodedPart& part : storage.parts((*tensors)[i])) {
      bytes += part.bytes() + part.name.size() + kHeaderBytes;
    }
    if (filled == 0 || filled + bytes > limit) {
      ++count;
      filled = kHeaderBytes;  // the file's own metadata
    }
    filled += bytes;
    shard[i] = count;
  }
  for (std::size_t i = 0; i < tensors->size(); ++i) {
    (*tensors)[i].shard = count == 1
                              ? kSingleShard
                              : fmt::format("model-{:05}-of-{:05}.safetensors", shard[i], count);
  }
}

// How settings name a module. Loaders put a part of a larger model below another name than the
// checkpoint's, so that only the end counts there.
std::string module_setting(const ExportRequest& request, const std::string& module) {
  if (!request.model.config().inside_larger) return module;
  std::string pattern = "re:.*";
  for (const char c : module) {
    if (c == '.') pattern += '\\';
    pattern += c;
  }
  return pattern + "$";
}

// What config.json says of codes.
Json code_settings(const ExportRequest& request, const Storage& storage,
                   const std::vector<OutputTensor>& tensors) {
  const Architecture& arch = request.model.architecture();
  const RoleSpec* head = find_role(arch, "output");
  const std::string head_module = module_of(head == nullptr ? "" : head->hf);
  CodedModel coded;
  coded.version = request.version;
  for (const OutputTensor& t : tensors) {
    const auto match = match_tensor(arch, Naming::kHf, t.name);
    const bool is_head = match.has_value() && match->role == head;
    if (storage.is_coded(t)) {
      coded.head_is_coded = coded.head_is_coded || is_head;
      continue;
    }
    const bool is_table = match.has_value() && match->role->role == "token_embd";
    if (t.shape.size() == 2 && !is_table && !is_head && t.name.ends_with(".weight")) {
      coded.dense.push_back(module_setting(request, module_of(t.name)));
    }
  }
  // A tied head, which is not stored, is a linear of its own for loaders.
  if (!coded.head_is_coded && !head_module.empty()) {
    coded.dense.push_back(module_setting(request, head_module));
  }
  return storage.codes()->settings(storage.grid(), coded);
}

class FolderSink final : public DenseSink {
 public:
  FolderSink(const ExportRequest& request, Layout layout, Storage storage, AtomicFolder folder)
      : DenseSink(request, std::move(layout)),
        name_(request.out.string()),
        dense_type_(request.dense_type),
        own_shards_(request.shard_bytes > 0),
        storage_(std::move(storage)),
        folder_(std::move(folder)) {}

  // Reserves the shards' space, so that a full disk is known before any compute.
  Status create_shards(const Model& model);
  // `made`: for a source that has no such files itself.
  Status write_other_files(const ExportRequest& request, const HfFolderFiles* made);

 private:
  Status write_index(const Model& model);
  Status store(const OutputTensor& tensor, const PressedTensor& pressed) override;
  Status write(const OutputTensor& tensor, std::span<const std::byte> bytes) override {
    return writers_.at(tensor.shard).write(tensor.name, bytes);
  }
  Status seal(const ExportManifest& manifest) override {
    for (auto& [shard, writer] : writers_) COLDPRESS_RETURN_IF_ERROR(writer.finish());
    return write_text_file(work_path() / kManifestFile, manifest.full);
  }
  Status audit() override;
  Status audit_part(const CodedPart& part, int64_t rows, const SafetensorsFile& file) const;
  const fs::path& work_path() const override { return folder_.work_path(); }
  Status commit() override { return folder_.commit(); }

  std::string name_;
  DType dense_type_;
  bool own_shards_;
  Storage storage_;
  AtomicFolder folder_;
  std::map<std::string, SafetensorsWriter> writers_;
  std::map<std::string, uint64_t> part_hashes_;  // of every part of a coded linear, by name
};

Status FolderSink::create_shards(const Model& model) {
  std::vector<std::string> order;
  std::map<std::string, std::vector<SafetensorsWriter::Declaration>> declared;
  for (const OutputTensor& t : layout()) {
    auto& tensors = declared[t.shard];
    if (tensors.empty()) order.push_back(t.shard);
    for (CodedPart& part : storage_.parts(t)) {
      tensors.push_back({std::move(part.name), part.dtype, std::move(part.shape)});
    }
  }
  for (const std::string& shard : order) {
    std::map<std::string, std::string> metadata = {{"format", "pt"}};
    if (!model.is_gguf() && !own_shards_) {
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

Status FolderSink::write_other_files(const ExportRequest& request, const HfFolderFiles* made) {
  const Model& model = request.model;
  if (made != nullptr) {
    COLDPRESS_RETURN_IF_ERROR(write_text_file(work_path() / "config.json", made->config_json));
    COLDPRESS_RETURN_IF_ERROR(
        write_text_file(work_path() / "tokenizer.json", made->tokenizer.tokenizer_json));
    COLDPRESS_RETURN_IF_ERROR(write_text_file(work_path() / "tokenizer_config.json",
                                              made->tokenizer.tokenizer_config_json));
  } else {
    // The source's own packing is gone.
    const bool packed = model.source_is_quantised() || !model.set_aside().empty();
    COLDPRESS_RETURN_IF_ERROR(
        copy_hf_sidecars(model.path(), work_path(), request.dense_type, packed, model.config()));
  }
  if (storage_.codes() != nullptr) {
    const fs::path config = work_path() / "config.json";
    COLDPRESS_ASSIGN_OR_RETURN(std::string text, read_text_file(config));
    COLDPRESS_ASSIGN_OR_RETURN(
        text, with_packing(std::move(text), code_settings(request, storage_, layout()),
                           (model.path() / "config.json").string()));
    COLDPRESS_RETURN_IF_ERROR(write_text_file(config, text));
  }
  return write_index(model);
}

Status FolderSink::write_index(const Model& model) {
  if (writers_.contains(kSingleShard)) return {};
  uint64_t total = 0;
  std::map<std::string, std::string> shard_of;
  for (const OutputTensor& t : layout()) {
    total += storage_.bytes(t);
    for (const CodedPart& part : storage_.parts(t)) shard_of[part.name] = t.shard;
  }
  if (own_shards_) return write_text_file(work_path() / kIndexFile, make_hf_index(total, shard_of));
  return copy_hf_index(model.path(), work_path(), total, shard_of);
}

Status FolderSink::store(const OutputTensor& tensor, const PressedTensor& pressed) {
  if (!storage_.is_coded(tensor)) return DenseSink::store(tensor, pressed);
  COLDPRESS_CHECK(pressed.grid != nullptr && pressed.grid->level.empty() &&
                  !pressed.grid->has_offset);
  const int64_t rows = pressed.codes.rows;
  const int64_t cols = pressed.codes.cols;
  COLDPRESS_CHECK(rows == tensor.shape[0] && cols == tensor.shape[1]);
  // In the order in which they are stored; and they are the values, as loaders compute them.
  QuantGrid grid = pressed.grid->shell(rows);
  Matrix<uint8_t> codes(rows, cols);
  std::vector<float> decoded(static_cast<std::size_t>(cols));
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t from = source_row(tensor, r);
    std::copy_n(pressed.grid->scale.row(from), grid.scale.cols(), grid.scale.row(r));
    std::copy_n(pressed.grid->zero.row(from), grid.zero.cols(), grid.zero.row(r));
    std::copy_n(pressed.codes.row(from), cols, codes.row(r));
    for (int64_t c = 0; c < cols; ++c) {
      decoded[static_cast<std::size_t>(c)] = grid.value(r, c, codes(r, c));
    }
    round_to_dtype(dense_type_, decoded);
    COLDPRESS_CHECK(
        std::memcmp(decoded.data(), pressed.values.row(from), decoded.size() * sizeof(float)) == 0);
  }
  const std::vector<CodedPart> parts = storage_.parts(tensor);
  const std::vector<std::vector<std::byte>> bytes =
      storage_.codes()->pack(storage_.grid(), grid, codes.view());
  COLDPRESS_CHECK(bytes.size() == parts.size());
  for (std::size_t i = 0; i < parts.size(); ++i) {
    part_hashes_[parts[i].name] = xxh3_64(bytes[i]);
    COLDPRESS_RETURN_IF_ERROR(writers_.at(tensor.shard).write(parts[i].name, bytes[i]));
  }
  return {};
}

// Every byte of the codes' parts is what was written, and every scale and zero what loaders can
// use: decoding alone would not show a scale whose codes are all zero.
Status FolderSink::audit() {
  for (const auto& [shard, writer] : writers_) {
    const auto opened = SafetensorsFile::open(work_path() / shard);
    if (!opened.ok()) {
      return opened.status().with_context(name_ + ": what was written cannot be read back");
    }
    for (const OutputTensor& t : layout()) {
      if (t.shard != shard || !storage_.is_coded(t)) continue;
      for (const CodedPart& part : storage_.parts(t)) {
        COLDPRESS_RETURN_IF_ERROR(audit_part(part, t.shape[0], *opened));
      }
    }
  }
  return {};
}

Status FolderSink::audit_part(const CodedPart& part, int64_t rows,
                              const SafetensorsFile& file) const {
  const SafetensorsInfo* stored = file.find(part.name);
  if (stored == nullptr || stored->dtype != part.dtype || stored->shape != part.shape ||
      xxh3_64(stored->data) != part_hashes_.at(part.name)) {
    return corrupt(
        fmt::format("{}: tensor \"{}\" does not read back as the bytes that were written; the disk "
                    "or the memory of this machine may be failing",
                    name_, part.name));
  }
  drop_mapped(stored->data.data(), stored->data.size());
  bool good = true;
  if (part.holds == CodedPart::Holds::kScales) {
    std::vector<float> scales(stored->data.size() /
                              static_cast<std::size_t>(dtype_size(part.dtype)));
    COLDPRESS_CHECK(decode_to_f32(part.dtype, stored->data, scales));
    good = std::all_of(scales.begin(), scales.end(),
                       [](float s) { return std::isfinite(s) && s != 0; });
  } else if (part.holds == CodedPart::Holds::kZeros && storage_.codes()->good_zeros != nullptr) {
    good = storage_.codes()->good_zeros(storage_.grid(), rows, stored->data);
  }
  if (good) return {};
  return corrupt(fmt::format("{}: tensor \"{}\" holds a number that is no scale or zero point",
                             name_, part.name));
}

}  // namespace

Result<std::unique_ptr<ExportSink>> open_folder_sink(const ExportRequest& request,
                                                     const CodeFormat* codes) {
  COLDPRESS_ASSIGN_OR_RETURN(Layout layout, plan_layout(request, Naming::kHf));
  Storage storage(codes, request.grid);
  if (codes != nullptr) {
    COLDPRESS_RETURN_IF_ERROR(
        check_codes(request.code_format, *codes, request.grid, request.dense_type));
    COLDPRESS_RETURN_IF_ERROR(plan_codes(request, storage, &layout));
  }
  if (request.shard_bytes > 0) assign_shards(storage, request.shard_bytes, &layout.tensors);
  std::optional<HfFolderFiles> made;
  if (request.model.is_gguf()) {
    COLDPRESS_ASSIGN_OR_RETURN(
        made, hf_files_of(request.model, request.dense_type, request.tokenizer_pre));
  }
  COLDPRESS_ASSIGN_OR_RETURN(AtomicFolder folder, AtomicFolder::create(request.out));
  auto sink = std::make_unique<FolderSink>(request, std::move(layout), std::move(storage),
                                           std::move(folder));
  COLDPRESS_RETURN_IF_ERROR(sink->create_shards(request.model));
  COLDPRESS_RETURN_IF_ERROR(sink->write_other_files(request, made.has_value() ? &*made : nullptr));
  return std::unique_ptr<ExportSink>(std::move(sink));
}

}  // namespace coldpress
