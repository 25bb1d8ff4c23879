// Lets fake tensors of torch's take a step backward on "cuda" where CUDA is not linked or no GPU is there: hooks that say
// that there is one, and a guard of devices, streams and events that does nothing. To be loaded before torch, which asks the
// hooks once; `put_guard` comes after it, for torch with CUDA puts its own guard in place as it loads.
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

namespace {
using namespace c10;
const Device GPU(DeviceType::CUDA, 0);

struct Hooks : at::CUDAHooksInterface {
  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
};

struct Guard : impl::NoOpDeviceGuardImpl<DeviceType::CUDA> {
  Device getDevice() const override { return GPU; }
  Stream getStream(Device) const noexcept override { return Stream(Stream::DEFAULT, GPU); }
  void record(void**, const Stream&, const DeviceIndex, const EventFlag) const override {}
  void block(void*, const Stream&) const override {}
};

std::unique_ptr<at::CUDAHooksInterface> make(at::CUDAHooksArgs) { return std::make_unique<Hooks>(); }
Registerer<std::string, std::unique_ptr<at::CUDAHooksInterface>, at::CUDAHooksArgs> hooks(
    "CUDAHooks", REGISTRY_PREFERRED, at::CUDAHooksRegistry(), make);
} // namespace

extern "C" void put_guard() { static impl::DeviceGuardImplRegistrar guard(DeviceType::CUDA, new Guard); }
