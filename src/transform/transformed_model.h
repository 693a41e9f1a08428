// A model seen through transforms: the same function, by other weights. Weights are changed as they
// are loaded, one tensor at a time, so that it is as lazy as its source, and everything that takes
// a Model (calibration, evaluation, export) works on it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/dtype.h"
#include "calibration/windows.h"
#include "model/model.h"
#include "transform/steps.h"
#include "transform/weight_edits.h"

namespace coldpress {

class TransformedModel final : public Model {
 public:
  // Keeps a reference to `source`. What cannot be done is refused with the reason. Changed tensors
  // that are no linears of a block come as the output stores them: rounded to
  // `dense_type`, but for GGUF's vectors, which keep theirs.
  static Result<std::unique_ptr<TransformedModel>> create(const Model& source,
                                                          const TransformOptions& options,
                                                          DType dense_type);

  const Architecture& architecture() const override { return source_.architecture(); }
  const ModelConfig& config() const override { return config_; }
  const std::filesystem::path& path() const override { return source_.path(); }
  bool is_gguf() const override { return source_.is_gguf(); }
  bool source_is_quantised() const override { return source_.source_is_quantised(); }
  const std::vector<SourceTensor>& tensors() const override { return tensors_; }
  const std::vector<SetAside>& set_aside() const override { return source_.set_aside(); }
  const SourceTensor* find(const std::string& name) const override;
  std::vector<Tap> taps(int block) const override { return source_.taps(block); }
  std::optional<std::string> role_tensor(std::string_view role, int block) const override;
  RotationBlocks tap_rotations(std::string_view tap, int block) const override;
  using Model::load;
  Result<MatrixF> load(const std::string& tensor_name, const Memory& memory) const override;

  // Learns what the steps say is to be learned, from the calibration windows; before anything is
  // loaded. Nothing if that is nothing.
  Status learn(const CalibrationWindows& windows, ThreadPool& pool);

  // From now on load() gives `values` for this tensor, which the transforms said they would change.
  void replace(const std::string& tensor_name, MatrixF values);

 private:
  struct Change {
    std::vector<WeightEdits::Edit> edits;
    std::string from;  // the source's tensor
    float offset = 0;  // effective values are the stored ones plus this
    std::optional<DType> rounded;
  };

  TransformedModel(const Model& source, const WeightEdits& edits, DType dense_type);
  Change change_of(const SourceTensor& tensor, const std::vector<WeightEdits::Edit>& edits,
                   DType dense_type) const;

  const Model& source_;
  ModelConfig config_;
  std::vector<SourceTensor> tensors_;
  std::unordered_map<std::string, std::size_t> index_;
  std::unordered_map<std::string, Change> changes_;
  std::vector<WeightEdits::Learn> learners_;
  WeightEdits::TapRotations tap_rotations_;
  std::unordered_map<std::string, MatrixF> replaced_;
  std::string untied_head_;  // empty: as the source has it
};

}  // namespace coldpress
