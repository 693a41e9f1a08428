// Model::open: the two kinds of source behind one interface.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "base/checked.h"
#include "base/dtype.h"
#include "io/ggml_codec.h"
#include "io/gguf.h"
#include "io/json.h"
#include "io/safetensors.h"
#include "io/show_name.h"
#include "model/model.h"
#include "model/packed_parts.h"
#include "model/packed_source.h"
#include "model/parse_config.h"

namespace coldpress {
namespace {

namespace fs = std::filesystem;

bool is_decodable(DType type) {
  return type == DType::kF64 || type == DType::kF32 || type == DType::kF16 || type == DType::kBF16;
}

bool all_finite(std::span<const float> values) {
  // Integer compare over blocks: vectorises, and stops early on a bad file.
  constexpr uint32_t kExponent = 0x7f800000U;
  constexpr std::size_t kBlock = 4096;
  for (std::size_t start = 0; start < values.size(); start += kBlock) {
    uint32_t bad = 0;
    for (const float v : values.subspan(start, std::min(kBlock, values.size() - start))) {
      bad |= static_cast<uint32_t>((std::bit_cast<uint32_t>(v) & kExponent) == kExponent);
    }
    if (bad != 0) return false;
  }
  return true;
}

Result<MatrixF> transposed(const MatrixF& m, const Memory& memory) {
  COLDPRESS_ASSIGN_OR_RETURN(MatrixF t, MatrixF::create(m.cols(), m.rows(), memory));
  for (int64_t i = 0; i < t.rows(); ++i) {
    for (int64_t j = 0; j < t.cols(); ++j) t(i, j) = m(j, i);
  }
  return t;
}

// What decoding needs beside the bytes.
struct Codec {
  bool decodable = false;
  bool is_quantised = false;
  bool is_transposed = false;                           // stored as (in, out)
  DType dtype = DType::kF32;                            // HF
  int32_t ggml_type = 0;                                // GGUF
  std::function<Status(std::span<float>)> unpack = {};  // HF, packed
};

class SourceModel final : public Model {
 public:
  SourceModel(fs::path path, Naming naming, const Architecture* architecture, ModelConfig config)
      : path_(std::move(path)),
        naming_(naming),
        architecture_(architecture),
        config_(std::move(config)) {}

  Status add_safetensors(const fs::path& path, SafetensorsFile file);
  void add_gguf(GgufFile file);
  // Replaces the parts of packed weights by the weights.
  Status fold_packed(const Json& settings);
  // Where the flags of a larger model and of the language model in it contradict the tensors, the
  // tensors count: an output matrix of its own is used.
  void settle_tied_embeddings();
  // Every role in every block against the configuration.
  Status validate();
  // GGUF stores Llama-3 frequency divisors as a tensor.
  Status read_rope_factors();

  const Architecture& architecture() const override { return *architecture_; }
  const ModelConfig& config() const override { return config_; }
  const fs::path& path() const override { return path_; }
  bool is_gguf() const override { return naming_ == Naming::kGguf; }
  bool source_is_quantised() const override { return quantised_; }
  const std::vector<SourceTensor>& tensors() const override { return tensors_; }
  const std::vector<SetAside>& set_aside() const override { return set_aside_; }
  const SourceTensor* find(const std::string& name) const override {
    const auto it = index_.find(name);
    return it == index_.end() ? nullptr : &tensors_[it->second];
  }
  std::vector<Tap> taps(int block) const override;
  std::optional<std::string> role_tensor(std::string_view role, int block) const override;
  using Model::load;
  Result<MatrixF> load(const std::string& tensor_name, const Memory& memory) const override;

 private:
  // The name a role's tensor has in this source, under any of its spellings.
  std::string name_of(const RoleSpec& role, int64_t block, int64_t expert = 0) const;
  bool is_stacked(const RoleSpec& role, int64_t block) const;
  bool has_fused() const;
  enum class Use { kNo, kIfPresent, kYes };
  Use use_of(const RoleSpec& role) const;
  Status validate_role(const RoleSpec& role, int64_t block, int64_t expert);
  // No two tensors play the same role under different names.
  Status validate_names() const;
  bool add(SourceTensor tensor, Codec codec);

  fs::path path_;
  Naming naming_;
  const Architecture* architecture_;
  ModelConfig config_;
  bool quantised_ = false;
  std::deque<SafetensorsFile> shards_;  // own the mapped bytes
  std::optional<GgufFile> gguf_;
  std::vector<SourceTensor> tensors_;
  std::vector<Codec> codecs_;  // parallel to tensors_
  std::vector<SetAside> set_aside_;
  std::unordered_map<std::string, std::size_t> index_;
};

bool SourceModel::add(SourceTensor tensor, Codec codec) {
  if (!index_.emplace(tensor.name, tensors_.size()).second) return false;
  tensors_.push_back(std::move(tensor));
  codecs_.push_back(std::move(codec));
  return true;
}

Status SourceModel::add_safetensors(const fs::path& path, SafetensorsFile file) {
  shards_.push_back(std::move(file));
  const std::string shard_name = path.filename().string();
  for (const SafetensorsInfo& info : shards_.back().content().tensors) {
    SourceTensor tensor{info.name, std::string(dtype_name(info.dtype)), info.shape, info.data,
                        shard_name};
    if (!add(std::move(tensor), {.decodable = is_decodable(info.dtype), .dtype = info.dtype})) {
      return corrupt(fmt::format("{}: tensor {} is in another shard too", path.string(),
                                 show_name(info.name)));
    }
  }
  return {};
}

Status SourceModel::fold_packed(const Json& settings) {
  std::vector<StoredTensor> stored;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    stored.push_back({tensors_[i].name, codecs_[i].dtype, tensors_[i].shape, tensors_[i].data});
  }
  COLDPRESS_ASSIGN_OR_RETURN(
      PackedSource packed,
      find_packed(settings, StoredTensors(stored, path_.string()), path_.string()));
  std::unordered_map<std::string, PackedWeight*> by_codes;
  for (PackedWeight& weight : packed.weights) by_codes[weight.parts.front()] = &weight;
  const std::vector<SourceTensor> tensors = std::move(tensors_);
  const std::vector<Codec> codecs = std::move(codecs_);
  tensors_.clear();
  codecs_.clear();
  index_.clear();
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const SourceTensor& t = tensors[i];
    const auto reason = packed.set_aside.find(t.name);
    if (reason != packed.set_aside.end()) {
      set_aside_.push_back({t.name, t.type, t.shape, reason->second});
    }
    const auto found = by_codes.find(t.name);
    if (found != by_codes.end()) {
      PackedWeight& w = *found->second;
      const SourceTensor weight{w.name, w.type, {w.rows, w.cols}, t.data, t.shard, true};
      // find_packed has refused names that are taken.
      COLDPRESS_CHECK(
          add(weight, {.decodable = true, .is_quantised = true, .unpack = std::move(w.decode)}));
    } else if (reason == packed.set_aside.end()) {
      COLDPRESS_CHECK(add(t, codecs[i]));
    }
  }
  return {};
}

void SourceModel::add_gguf(GgufFile file) {
  gguf_.emplace(std::move(file));
  const std::string file_name = gguf_->path().filename().string();
  for (const GgufTensor& stored : gguf_->content().tensors) {
    const auto info = ggml_type_info(stored.ggml_type);
    SourceTensor tensor{stored.name, info ? info->name : fmt::format("type {}", stored.ggml_type),
                        stored.shape, stored.data, file_name};
    // The GGUF reader has refused duplicate names.
    COLDPRESS_CHECK(add(std::move(tensor), {.decodable = info && info->decodable,
                                            .is_quantised = info && info->is_quantised,
                                            .ggml_type = stored.ggml_type}));
  }
}

SourceModel::Use SourceModel::use_of(const RoleSpec& role) const {
  if ((naming_ == Naming::kHf ? role.hf : role.gguf).empty()) return Use::kNo;
  const bool hf = naming_ == Naming::kHf;
  const auto when = [hf](bool configured) {
    if (!hf) return Use::kIfPresent;
    return configured ? Use::kYes : Use::kNo;
  };
  switch (role.presence) {
    case Presence::kRequired:
      return Use::kYes;
    case Presence::kOptional:
      return Use::kIfPresent;
    case Presence::kUntied:
      return config_.tied_embeddings ? Use::kNo : Use::kYes;
    case Presence::kAttentionBias:
      return when(config_.attention_bias);
    case Presence::kMlpBias:
      return when(config_.mlp_bias);
    case Presence::kFused:
      return has_fused() ? Use::kYes : Use::kNo;
    case Presence::kSplit:
      return has_fused() ? Use::kNo : Use::kYes;
  }
  COLDPRESS_CHECK(false);
}

std::string SourceModel::name_of(const RoleSpec& role, int64_t block, int64_t expert) const {
  std::string name = tensor_name(role, naming_, block, expert);
  if (naming_ != Naming::kHf || find(name) != nullptr) return name;
  for (std::string& other : hf_spellings(*architecture_, name)) {
    if (find(other) != nullptr) return std::move(other);
  }
  if (!role.hf_stacked.empty()) {
    RoleSpec stacked = role;
    stacked.hf = role.hf_stacked;
    for (std::string& other : hf_spellings(*architecture_, tensor_name(stacked, naming_, block))) {
      if (find(other) != nullptr) return std::move(other);
    }
  }
  return name;
}

Status SourceModel::validate_names() const {
  if (naming_ != Naming::kHf) return {};
  for (const SourceTensor& tensor : tensors_) {
    const auto match = match_tensor(*architecture_, naming_, tensor.name);
    if (!match) continue;
    const std::string used =
        name_of(*match->role, match->block, std::max<int64_t>(match->expert, 0));
    if (used == tensor.name) continue;
    return corrupt(fmt::format("{}: tensors {} and {} play the same role", path_.string(),
                               show_name(used), show_name(tensor.name)));
  }
  return {};
}

void SourceModel::settle_tied_embeddings() {
  const SourceTensor* table = find(name_of(*find_role(*architecture_, "token_embd"), 0));
  const SourceTensor* output = find(name_of(*find_role(*architecture_, "output"), 0));
  if (!config_.inside_larger || table == nullptr) return;
  config_.tied_embeddings =
      output == nullptr ? config_.tied_embeddings
                        : config_.tied_embeddings && std::ranges::equal(table->data, output->data);
}

bool SourceModel::is_stacked(const RoleSpec& role, int64_t block) const {
  const auto match = match_tensor(*architecture_, naming_, name_of(role, block));
  return match.has_value() && match->is_stacked;
}

// Whether this source has the fused tensors of Presence::kFused.
bool SourceModel::has_fused() const {
  for (const RoleSpec& role : architecture_->roles) {
    if (role.presence != Presence::kFused) continue;
    int64_t block = 0;
    while (block < config_.blocks && !role.is_in(config_, block)) ++block;
    if (find(name_of(role, block)) != nullptr) return true;
  }
  return false;
}

std::optional<std::string> SourceModel::role_tensor(std::string_view role, int block) const {
  const RoleSpec* spec = find_role(*architecture_, role);
  if (spec == nullptr || use_of(*spec) == Use::kNo || !spec->is_in(config_, block)) {
    return std::nullopt;
  }
  std::string name = name_of(*spec, block);
  if (find(name) == nullptr) return std::nullopt;
  return name;
}

Status SourceModel::validate_role(const RoleSpec& role, int64_t block, int64_t expert) {
  const Use use = use_of(role);
  if (use == Use::kNo) return {};
  const std::string name = name_of(role, block, expert);
  const auto it = index_.find(name);
  if (it == index_.end()) {
    if (use == Use::kIfPresent) return {};
    return not_found(fmt::format("{}: tensor \"{}\", which {} needs, is missing", path_.string(),
                                 name, architecture_->name));
  }
  const SourceTensor& tensor = tensors_[it->second];
  std::vector<int64_t> expected;
  if (role.per_expert && is_stacked(role, block)) expected.push_back(config_.experts);
  if (role.rows != Extent::kOne) expected.push_back(extent_size(role.rows, config_));
  expected.push_back(extent_size(role.cols, config_));
  const bool transposed = role.hf_transposed && naming_ == Naming::kHf;
  if (transposed) std::swap(expected.front(), expected.back());
  if (tensor.shape != expected) {
    return corrupt(fmt::format("{}: tensor \"{}\" has shape {}, but the configuration implies {}",
                               path_.string(), name, dims_text(tensor.shape), dims_text(expected)));
  }
  Codec& codec = codecs_[it->second];
  codec.is_transposed = transposed;
  if (!codec.decodable) {
    return unsupported(fmt::format("{}: tensor \"{}\" is stored as {}, which cannot be decoded",
                                   path_.string(), name, tensor.type));
  }
  quantised_ = quantised_ || codec.is_quantised;
  return {};
}

Status SourceModel::validate() {
  COLDPRESS_RETURN_IF_ERROR(validate_names());
  for (const RoleSpec& role : architecture_->roles) {
    const int64_t count = role.per_block() ? config_.blocks : 1;
    for (int64_t block = 0; block < count; ++block) {
      if (!role.is_in(config_, block)) continue;
      const int64_t experts = role.per_expert ? config_.experts : 1;
      for (int64_t expert = 0; expert < experts; ++expert) {
        COLDPRESS_RETURN_IF_ERROR(validate_role(role, block, expert));
      }
    }
  }
  return {};
}

Status SourceModel::read_rope_factors() {
  const auto name = role_tensor("rope_factors", 0);
  if (!name) return {};
  COLDPRESS_ASSIGN_OR_RETURN(const MatrixF factors, load(*name));
  for (RopeConfig& rope : config_.rope) {
    rope.factors.resize(static_cast<std::size_t>(factors.cols()), 1.0F);
    for (int64_t i = 0; i < factors.cols(); ++i) {
      if (!(factors(0, i) > 0.0F)) {
        return corrupt(
            fmt::format("{}: tensor \"{}\" holds {}; rotary frequency factors must be "
                        "positive",
                        path_.string(), *name, factors(0, i)));
      }
      rope.factors[static_cast<std::size_t>(i)] *= factors(0, i);
    }
  }
  return {};
}

std::vector<Tap> SourceModel::taps(int block) const {
  std::vector<Tap> taps;
  for (const std::string_view name : {"attn_in", "attn_out", "ffn_in", "ffn_mid"}) {
    Tap tap;
    tap.name = std::string(name);
    for (const RoleSpec& role : architecture_->roles) {
      if (role.tap != name || !role.is_linear() || use_of(role) == Use::kNo) continue;
      if (!role.is_in(config_, block)) continue;
      tap.width = extent_size(role.cols, config_);
      tap.by_expert = role.per_expert;
      const bool stacked = role.per_expert && is_stacked(role, block);
      for (int64_t e = 0; e < (role.per_expert ? config_.experts : 1); ++e) {
        tap.linears.push_back({std::string(role.role), name_of(role, block, e),
                               extent_size(role.rows, config_), tap.width,
                               role.per_expert ? static_cast<int>(e) : -1, stacked});
      }
    }
    if (tap.by_expert && name == "ffn_mid") tap.width *= config_.experts_used;
    tap.adds_to_residual = (name == "attn_out" && !role_tensor("attn_post_norm", block)) ||
                           (name == "ffn_mid" && !role_tensor("ffn_post_norm", block));
    taps.push_back(std::move(tap));
  }
  return taps;
}

Result<MatrixF> SourceModel::load(const std::string& tensor_name, const Memory& memory) const {
  const auto it = index_.find(tensor_name);
  if (it == index_.end()) {
    return not_found(fmt::format("{}: no tensor {}", path_.string(), show_name(tensor_name)));
  }
  const SourceTensor& tensor = tensors_[it->second];
  const Codec& codec = codecs_[it->second];
  if (tensor.shape.empty() || tensor.shape.size() > 3 || !codec.decodable) {
    return unsupported(fmt::format("{}: tensor {} ({} {}) cannot be decoded to a matrix",
                                   path_.string(), show_name(tensor_name), tensor.type,
                                   dims_text(tensor.shape)));
  }
  // The readers have checked the shape against the bytes in the file, so this is bounded by them.
  int64_t rows = 1;
  for (std::size_t i = 0; i + 1 < tensor.shape.size(); ++i) rows *= tensor.shape[i];
  COLDPRESS_ASSIGN_OR_RETURN(MatrixF matrix, MatrixF::create(rows, tensor.shape.back(), memory));
  const std::span<float> out(matrix.data(), static_cast<std::size_t>(matrix.size()));
  if (codec.unpack) COLDPRESS_RETURN_IF_ERROR(codec.unpack(out));
  const bool decoded = out.empty() || codec.unpack ||
                       (is_gguf() ? decode_ggml(codec.ggml_type, tensor.data, matrix.cols(), out)
                                  : decode_to_f32(codec.dtype, tensor.data, out));
  drop_mapped(tensor.data.data(), tensor.data.size());
  if (!decoded) {
    return corrupt(fmt::format("{}: tensor {} does not decode as {}", path_.string(),
                               show_name(tensor_name), tensor.type));
  }
  if (!all_finite(out)) {
    return corrupt(
        fmt::format("{}: tensor {} holds NaN or infinity", path_.string(), show_name(tensor_name)));
  }
  if (codec.is_transposed) return transposed(matrix, memory);
  return matrix;
}

bool is_plain_file_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
}

// The shards that an index names, in name order, after checking that the index is sane.
Result<std::map<std::string, std::string>> read_index(const fs::path& path) {
  COLDPRESS_ASSIGN_OR_RETURN(const Json json, read_json_file(path));
  const auto map = json.is_object() ? json.find("weight_map") : json.end();
  if (map == json.end() || !map->is_object() || map->empty()) {
    return corrupt(path.string() + ": key \"weight_map\" must be an object that names shards");
  }
  std::map<std::string, std::string> shard_of;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string() || !is_plain_file_name(file.get<std::string>())) {
      return corrupt(
          fmt::format("{}: the shard of tensor {} must be the plain name of a file "
                      "in the same folder",
                      path.string(), show_name(tensor)));
    }
    shard_of.emplace(tensor, file.get<std::string>());
  }
  return shard_of;
}

Status add_shards(const fs::path& index_path, SourceModel& model) {
  COLDPRESS_ASSIGN_OR_RETURN(const auto shard_of, read_index(index_path));
  std::set<std::string> shards;
  for (const auto& [tensor, file] : shard_of) shards.insert(file);
  for (const std::string& shard : shards) {
    const fs::path path = index_path.parent_path() / shard;
    COLDPRESS_ASSIGN_OR_RETURN(auto file, SafetensorsFile::open(path));
    COLDPRESS_RETURN_IF_ERROR(model.add_safetensors(path, std::move(file)));
  }
  for (const auto& [tensor, file] : shard_of) {
    const SourceTensor* found = model.find(tensor);
    if (found == nullptr || found->shard != file) {
      return corrupt(fmt::format("{}: tensor {} is not in shard {}", index_path.string(),
                                 show_name(tensor), show_name(file)));
    }
  }
  return {};
}

Result<std::unique_ptr<Model>> open_folder(const fs::path& path) {
  const fs::path config_path = path / "config.json";
  std::error_code ignored;
  if (!fs::exists(config_path, ignored)) {
    return not_found(fmt::format("{}: no config.json, so this is not a Hugging Face model folder",
                                 path.string()));
  }
  COLDPRESS_ASSIGN_OR_RETURN(const std::string text, read_text_file(config_path));
  COLDPRESS_ASSIGN_OR_RETURN(ModelConfig config, parse_hf_config(text, config_path.string()));
  const Architecture* arch = find_architecture(config.architecture);
  auto model = std::make_unique<SourceModel>(path, Naming::kHf, arch, std::move(config));
  const fs::path single = path / "model.safetensors";
  const fs::path index = path / "model.safetensors.index.json";
  if (fs::exists(single, ignored)) {
    COLDPRESS_ASSIGN_OR_RETURN(auto file, SafetensorsFile::open(single));
    COLDPRESS_RETURN_IF_ERROR(model->add_safetensors(single, std::move(file)));
  } else if (fs::exists(index, ignored)) {
    COLDPRESS_RETURN_IF_ERROR(add_shards(index, *model));
  } else {
    return not_found(fmt::format(
        "{}: neither model.safetensors nor model.safetensors.index.json is there", path.string()));
  }
  COLDPRESS_ASSIGN_OR_RETURN(const auto settings,
                             quantization_settings(text, config_path.string()));
  if (settings) COLDPRESS_RETURN_IF_ERROR(model->fold_packed(*settings));
  model->settle_tied_embeddings();
  COLDPRESS_RETURN_IF_ERROR(model->validate());
  return std::unique_ptr<Model>(std::move(model));
}

Result<std::unique_ptr<Model>> open_gguf(const fs::path& path) {
  COLDPRESS_ASSIGN_OR_RETURN(auto file, GgufFile::open(path));
  COLDPRESS_ASSIGN_OR_RETURN(ModelConfig config, parse_gguf_config(file.content(), path.string()));
  const Architecture* arch = find_architecture(config.architecture);
  auto model = std::make_unique<SourceModel>(path, Naming::kGguf, arch, std::move(config));
  model->add_gguf(std::move(file));
  COLDPRESS_RETURN_IF_ERROR(model->validate());
  COLDPRESS_RETURN_IF_ERROR(model->read_rope_factors());
  return std::unique_ptr<Model>(std::move(model));
}

}  // namespace

Result<std::unique_ptr<Model>> Model::open(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) return not_found(path.string() + ": no such file or folder");
  if (fs::is_directory(status)) return open_folder(path);
  return open_gguf(path);
}

}  // namespace coldpress
